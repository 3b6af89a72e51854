"""A training run saved to its folder, and restored from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine.network.blobnet import weights_of
from engine.search.examples import Examples
from engine.training.checkpoint import CheckpointError, read_arrays, write_arrays
from engine.training.iterations import Chunk, IterationRecord
from engine.training.replay import ReplayBuffer
from engine.training.run_folder import SUFFIX, RunFolder
from engine.training.state import TrainingState
from engine.training.trainer import NetworkTrainer, NotFinite, StepLoss


class RunSaver:
    """Saves one run: its state, trainer and buffer.

    Every method raises CheckpointError, in one line, when the disk or a file fails.
    """

    def __init__(self, folder: RunFolder, trainer: NetworkTrainer, buffer: ReplayBuffer) -> None:
        self.folder, self.trainer, self.buffer = folder, trainer, buffer

    def save_iteration(self, state: TrainingState) -> None:
        """Save the state between two iterations, the metrics, and the network for other users."""
        self.folder.save_network(state.iteration, weights_of(self.trainer.network))
        # Before the checkpoint: the record of an iteration that is repeated is replaced.
        self.folder.write_records([record._asdict() for record in state.records])
        self.save_checkpoint(state)

    def save_checkpoint(self, state: TrainingState) -> None:
        """Save the state, and remove files that are no longer needed."""
        about = {
            "iteration": state.iteration,
            "step": state.step,
            "first_games": state.first_games,
            "added": self.buffer.added,
            "sampler": self.buffer.sampler,
            "training_seconds": state.training_seconds,
        }
        losses = np.array(state.losses, np.float64).reshape(-1, 2)
        arrays = {**self.trainer.state(), "uses": self.buffer.uses, "losses": losses}
        self.folder.save_checkpoint(state.iteration, state.step, arrays, about)
        self.folder.prune(self.buffer.capacity)

    def save_games(self, chunk: Chunk, examples: Examples) -> None:
        """Save a chunk of self-play, as far as the buffer can hold it."""
        newest = {n: c[-self.buffer.capacity :] for n, c in examples._asdict().items()}
        self.folder.save_games(chunk.iteration, chunk.first_game, newest, chunk._asdict())

    def save_bad_batch(self, iteration: int, error: NotFinite) -> str:
        """Save the batch of a loss that is not finite; returns the file's name."""
        name = f"bad-batch-{iteration:06}-{error.step:06}{SUFFIX}"
        about = {"iteration": iteration, "step": error.step}
        write_arrays(self.folder.path / name, error.batch._asdict(), about)
        return name

    # -- restoring ----------------------------------------------------------------------------

    def restore(self, checkpoint: Path) -> TrainingState:
        """The state of a checkpoint; trainer and buffer are restored too."""
        arrays, about = read_arrays(checkpoint)
        try:
            return self._restore(arrays, about)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"cannot resume from {checkpoint}: {reason}") from None

    def _restore(self, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> TrainingState:
        if arrays["uses"].shape != self.buffer.uses.shape:
            raise ValueError(f"its buffer holds {len(arrays['uses']):,} examples")
        self.trainer.load_state(arrays)
        records = [IterationRecord(**record) for record in self.folder.records()]
        state = TrainingState(
            iteration=about["iteration"],
            step=about["step"],
            first_games=list(about["first_games"]),
            losses=[StepLoss(*losses) for losses in arrays["losses"].tolist()],
            training_seconds=about["training_seconds"],
            records=[record for record in records if record.iteration <= about["iteration"]],
        )
        self._refill(state, about["added"], arrays["uses"])
        self.buffer.sampler = about["sampler"]
        return state

    def _refill(self, state: TrainingState, added: int, uses: np.ndarray) -> None:
        """Fill the buffer from the saved chunks; `uses` holds once `added` examples are in it."""
        end = max(0, added - self.buffer.capacity)
        for path in self.folder.chunks(state.iteration):
            columns, about = read_arrays(path)
            chunk = Chunk(**about)
            if chunk.added_before > end:
                raise ValueError(f"examples {end:,} to {chunk.added_before:,} are not in games/")
            state.add_chunk(chunk, Examples(**columns), self.buffer)
            end = chunk.end
            if end == added:
                self.buffer.uses[:] = uses
        if end < added:
            raise ValueError(f"examples {end:,} to {added:,} are not in games/")
