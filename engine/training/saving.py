"""A training run saved to its folder, and restored from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from engine.matches.evaluation import MatchResult
from engine.network.blobnet import BlobNet, weights_of
from engine.search.examples import Examples, empty_examples
from engine.training.checked import checked
from engine.training.checkpoint import CheckpointError, Saved, read_arrays, write_arrays
from engine.training.iterations import Chunk, IterationRecord
from engine.training.replay import ReplayBuffer
from engine.training.run_folder import SUFFIX, RunFolder
from engine.training.state import SavedState, TrainingState
from engine.training.trainer import NetworkTrainer, NotFinite, StepLoss, check_state


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
        arrays, saved = _read_checkpoint(checkpoint, self.trainer.network, self.buffer.capacity)
        self.trainer.load_state(arrays)
        state = TrainingState(
            iteration=saved.iteration,
            step=saved.step,
            first_games=list(saved.first_games),
            losses=[StepLoss(*losses) for losses in arrays["losses"].tolist()],
            training_seconds=saved.training_seconds,
            records=[r for r in kept_records(self.folder) if r.iteration <= saved.iteration],
        )
        paths = self.folder.chunks(saved.iteration)
        for chunk, examples in _read_chunks(checkpoint, paths, saved.added, self.buffer.capacity):
            state.add_chunk(chunk, examples, self.buffer)
            if chunk.end == saved.added:
                self.buffer.uses[:] = arrays["uses"]
        self.buffer.sampler = saved.sampler
        return state


def kept_records(folder: RunFolder) -> list[IterationRecord]:
    """The records in metrics.jsonl. Raises CheckpointError, which names it and what is wrong."""
    records: list[IterationRecord] = []
    for number, line in enumerate(folder.records(), 1):
        try:
            record = checked(IterationRecord, line)
            for opponent, result in record.matches.items():
                if checked(MatchResult, result).deals < 1:
                    raise ValueError(f"the match against {opponent!r:.40} has no deals")
            for name in ("iteration", "games", "chunks", "steps", "examples"):
                if getattr(record, name) < 0:
                    raise ValueError(f"{name} is {getattr(record, name)}, which is below 0")
            if not all(age.isdecimal() for age in record.weights_ages):
                raise ValueError("weights_ages has an age that is no number")
            before = records[-1].iteration if records else 0
            if record.iteration <= before:
                raise ValueError(f"iteration {record.iteration} follows iteration {before}")
        except ValueError as error:
            raise CheckpointError(f"{folder.metrics}: line {number}: {error}") from None
        records.append(record)
    return records


def check_run(folder: RunFolder, network: BlobNet, capacity: int) -> list[Path]:
    """Read all that is read when a run is resumed; nothing is changed.

    Args:
      network: of the run's shape.
      capacity: examples of the replay buffer.

    Returns the files that have no checksum. Raises CheckpointError, in one line, for the first
    file that is missing, damaged, or of another run.
    """
    without = folder.check()
    kept_records(folder)
    newest = folder.newest_checkpoint
    if newest is not None:
        _, saved = _read_checkpoint(newest, network, capacity)
        paths = [p for p in folder.chunk_files() if int(p.stem[:6]) <= saved.iteration]
        for _ in _read_chunks(newest, paths, saved.added, capacity):
            pass
    return without


def _read_checkpoint(
    path: Path, network: BlobNet, capacity: int
) -> tuple[dict[str, np.ndarray], SavedState]:
    """A checkpoint's arrays and values, which fit `network` and a buffer of `capacity`."""
    arrays, about = read_arrays(path)
    try:
        for name in ("uses", "losses"):
            if name not in arrays:
                raise ValueError(f"it lacks '{name}'")
        saved = checked(SavedState, about)
        if min(saved.iteration, saved.step, saved.added, *saved.first_games) < 0:
            raise ValueError("one of its counts is below 0")
        if len(saved.first_games) != saved.iteration + 1:
            raise ValueError(f"it has {len(saved.first_games)} iterations in first_games")
        uses, losses = arrays["uses"], arrays["losses"]
        if uses.shape != (capacity,) or uses.dtype.kind != "i":
            raise ValueError(f"its buffer holds {uses.size:,} examples, not {capacity:,}")
        if losses.shape != (saved.step, 2) or losses.dtype.kind != "f":
            raise ValueError(f"it has losses of shape {losses.shape}, not ({saved.step}, 2)")
        check_state(network, arrays)
        try:
            ReplayBuffer(1).sampler = saved.sampler
        except Exception:  # numpy raises anything for a state that is none
            raise ValueError("its state of the random generator is none") from None
    except ValueError as error:
        raise CheckpointError(f"cannot resume from {path}: {error}") from None
    return arrays, saved


def _read_chunks(
    checkpoint: Path, paths: Sequence[Path], added: int, capacity: int
) -> Iterator[tuple[Chunk, Examples]]:
    """The chunks for a buffer of `capacity` that `added` examples were ever added to.

    Raises CheckpointError for one that is damaged or not there.
    """
    end, ends = max(0, added - capacity), {0}
    for path in paths:
        chunk, examples = _read_chunk(path, capacity)
        if chunk.added_before > end:
            raise _not_there(checkpoint, end, chunk.added_before)
        yield chunk, examples
        end = chunk.end
        ends.add(end)
    if end < added:
        raise _not_there(checkpoint, end, added)
    if added not in ends:
        raise CheckpointError(f"cannot resume from {checkpoint}: no chunk ends at {added:,}")


def _not_there(checkpoint: Path, first: int, last: int) -> CheckpointError:
    return CheckpointError(
        f"cannot resume from {checkpoint}: examples {first:,} to {last:,} are not in games/"
    )


def _read_chunk(path: Path, capacity: int) -> tuple[Chunk, Examples]:
    saved: Saved = read_arrays(path)
    try:
        chunk = checked(Chunk, saved.about)
        if min(chunk.rows, chunk.added_before, chunk.evaluations, chunk.first_game) < 0:
            raise ValueError("one of its counts is below 0")
        if chunk.games < 1 or chunk.seconds <= 0:
            raise ValueError("it has no games, or took no time")
        expected = empty_examples(min(chunk.rows, capacity))._asdict()
        if saved.arrays.keys() != expected.keys():
            raise ValueError(f"it holds {', '.join(sorted(saved.arrays))[:60]}")
        for name, array in saved.arrays.items():
            like = expected[name]
            if (array.shape, array.dtype) != (like.shape, like.dtype):
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}, not {like.dtype} {like.shape}"
                )
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinite numbers")
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return chunk, Examples(**saved.arrays)
