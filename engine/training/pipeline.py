"""TrainingPipeline: self-play → replay buffer → training → new weights in the workers, again.

With a RunFolder it survives being killed. What is lost is the unit in flight: a chunk of self-play,
or the training since the last checkpoint. It is repeated: chunks open and close their own lanes and
their games are named by number, batches are drawn by a sampler whose state is saved. With one
worker of one thread in float32 on the CPU, a run that was killed comes to the weights of one that
was not, to the last bit.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import torch

from engine.matches.evaluation import MatchResult
from engine.matches.strength import OnMatch, measure_strength
from engine.network.blobnet import BlobNet, load_weights, weights_hash, weights_of
from engine.network.devices import usable_cores
from engine.search.examples import Examples
from engine.search.lanes import SearchConfig
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.results import MessageCallback, ProgressCallback
from engine.training.checkpoint import CheckpointError, read_arrays, write_arrays
from engine.training.iterations import Chunk, IterationRecord, TrainingSettings
from engine.training.replay import ReplayBuffer
from engine.training.run_folder import SUFFIX, RunFolder
from engine.training.schedules import Ramp, cosine
from engine.training.trainer import NetworkTrainer, NotFinite, StepLoss, TrainingResult

SELF_PLAY, BUFFER, TRAINING = "self-play", "replay buffer", "training"
EVALUATION = "evaluation"
SAVING, CHECKPOINT, WEIGHTS = "saving games", "checkpoint", "weight refresh"

LONGEST = 1.5
"""The last chunk of an iteration takes in a rest of less than half a chunk."""

PhaseMarker = Callable[[str], AbstractContextManager[object]]
"""Called with a phase's name; its body runs inside the context that comes back."""


class IterationResult(NamedTuple):
    """A finished iteration, and what of it was done since this process took it up."""

    record: IterationRecord
    played: list[Chunk]
    training: TrainingResult


class Watch(NamedTuple):
    """What a run tells while it goes on."""

    phase: PhaseMarker = lambda name: nullcontext()
    progress: ProgressCallback | None = None
    message: MessageCallback | None = None
    step: Callable[[int, int, StepLoss], None] = lambda step, steps, loss: None
    """After each step: its number from 0, how many there will be, its loss."""
    match: OnMatch = lambda opponent, games, ended: None
    event: Callable[[str, str], None] = lambda kind, text: None


class TrainingPipeline:
    """A training run from its first iteration, or where `resume` takes it up, to its last.

    The trainer's network is the one whose weights the engine's workers are given. Without a folder
    nothing is kept. Raises ValueError for settings that cannot be.
    """

    def __init__(
        self,
        engine: SelfPlayEngine,
        trainer: NetworkTrainer,
        buffer: ReplayBuffer,
        settings: TrainingSettings | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        self.settings = settings or TrainingSettings()
        self.settings.check()
        self.engine, self.trainer, self.buffer = engine, trainer, buffer
        self.folder = folder
        self.iteration = 0
        """Finished iterations."""
        self.step = 0
        """Finished steps of the iteration at hand."""
        self.chunks: list[Chunk] = []
        """Of the iteration at hand."""
        self.records: list[IterationRecord] = []
        """Of finished iterations; of the one at hand from the end of its training on."""
        self.examples_by_age: dict[int, int] = {}
        """Of the last training: iterations since an example was played: how many examples."""
        self.examples_by_uses: dict[int, int] = {}
        """Of the last training: times an example had been trained on: how many examples."""
        self._first_games = [0]
        """Of every iteration begun."""
        self._games_per_second: float | None = None
        """Of the last chunk."""
        self._resumed = False
        self._losses: list[StepLoss] = []
        self._training_seconds = 0.0
        self._first: BlobNet | None = None
        """The network of before the first iteration, where a match may need it."""
        if self.settings.evaluate_every is not None:
            self._first = copy.deepcopy(trainer.network)
        self.evaluating = False
        """Whether matches are being played."""

    def run(self, watch: Watch | None = None) -> Iterator[IterationResult]:
        """Do the iterations that are missing; each is given when it is finished, and saved.

        Raises CheckpointError when the folder cannot be written, or holds a run that was not
        resumed, FloatingPointError at a loss that is not finite, and what the engine and the
        trainer raise.
        """
        watch = watch or Watch()
        if self.folder is not None and not self._resumed:
            if self.folder.newest_checkpoint is not None:
                raise CheckpointError(f"{self.folder.path} holds a training run: resume it first")
            self._save_iteration()
        while self.iteration < self.settings.iterations:
            yield self._iterate(watch)

    # -- one iteration ------------------------------------------------------------------------

    def _iterate(self, watch: Watch) -> IterationResult:
        settings, search = self.settings, self.engine.search
        # Not where games are played: a run that is resumed in its training has them behind it.
        self.engine.search = search._replace(
            determinizations=self._at(settings.determinizations, search.determinizations),
            simulations=self._at(settings.simulations, search.simulations),
            noise_share=settings.root_noise,
        )
        played = []
        while missing := self._missing_games():
            played.append(self._play(self._chunk_games(missing), watch))
        self.engine.injection.gap()
        trained = self._train(watch)
        self.records.append(self._record())
        if settings.evaluates(self.iteration):
            self._evaluate(watch)
        self.iteration, self.step = self.iteration + 1, 0
        self._first_games.append(self._next_game)
        self.chunks, self._losses, self._training_seconds = [], [], 0.0
        if self.folder is not None:
            with watch.phase(CHECKPOINT):
                self._save_iteration()
        with watch.phase(WEIGHTS):
            self.engine.update_weights(self.trainer.network)
        return IterationResult(self.records[-1], played, trained)

    @property
    def _next_game(self) -> int:
        return self._first_games[-1] + sum(chunk.games for chunk in self.chunks)

    def _at(self, ramp: Ramp | None, otherwise: int) -> int:
        """A ramp's value in the iteration at hand."""
        return otherwise if ramp is None else ramp.at(self.iteration, self.settings.iterations)

    def _missing_games(self) -> int:
        """None once training has begun: they would be played with other weights."""
        wanted = self._at(self.settings.games, 0) - sum(chunk.games for chunk in self.chunks)
        return 0 if self.step else max(0, wanted)

    def _chunk_games(self, missing: int) -> int:
        """How many of the missing games come next; after a crash it must be as many again."""
        if self.settings.chunk_games is not None:
            size = self.settings.chunk_games
        elif self.folder is None:
            size = missing
        elif self._games_per_second is None:
            # How fast it plays is not known before: a game a lane.
            size = self.engine.lanes
        else:
            size = max(1, int(self._games_per_second * self.settings.chunk_seconds / LONGEST))
        return missing if missing < LONGEST * size else size

    def _play(self, games: int, watch: Watch) -> Chunk:
        settings = self.settings
        with watch.phase(SELF_PLAY):
            played = self.engine.generate_games(
                games,
                settings.players,
                settings.cards,
                watch.progress,
                watch.message,
                first_game=self._next_game,
            )
        chunk = Chunk(
            iteration=self.iteration,
            first_game=self._next_game,
            games=games,
            rows=played.examples.rows,
            added_before=self.buffer.added,
            seconds=played.seconds,
            evaluations=int(played.tally["game_evaluations"]),
            weights_ages={str(age): count for age, count in played.weights_ages.items()},
        )
        if self.folder is not None:
            with watch.phase(SAVING):
                kept = {n: c[-self.buffer.capacity :] for n, c in played.examples._asdict().items()}
                self.folder.save_games(chunk.iteration, chunk.first_game, kept, chunk._asdict())
        with watch.phase(BUFFER):
            self._take(chunk, played.examples)
        return chunk

    def _take(self, chunk: Chunk, examples: Examples) -> None:
        """Add a chunk of which perhaps only the newest examples are left."""
        self.buffer.added = chunk.end - examples.rows
        self.buffer.add(examples)
        if chunk.iteration == self.iteration:
            self.chunks.append(chunk)
        self._games_per_second = chunk.games / chunk.seconds

    # -- training -----------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Training steps of the iteration at hand: its examples `reuse` times, at least one."""
        if len(self.buffer) < self.settings.least_examples:
            return 0
        examples = sum(chunk.rows for chunk in self.chunks)
        return max(1, round(examples * self.settings.reuse / self.trainer.batch_size))

    def _rate(self, step: int) -> float:
        """A step's share of the learning rate."""
        done = self.iteration + step / max(1, self.steps)
        return cosine(done / self.settings.iterations)

    def _train(self, watch: Watch) -> TrainingResult:
        self.buffer.window = self._at(self.settings.window, self.buffer.capacity)
        steps, begun, halved = self.steps, monotonic(), self.trainer.halved
        saved = begun

        def on_step(step: int, loss: StepLoss) -> None:
            nonlocal begun, saved, halved
            now = monotonic()
            self.step = step + 1
            self._losses.append(loss)
            self._training_seconds, begun = self._training_seconds + now - begun, now
            watch.step(step, steps, loss)
            if self.trainer.halved and not halved:
                halved = True
                watch.event(
                    "out-of-memory",
                    f"a batch of {self.trainer.batch_size:,} did not fit into the memory at step "
                    f"{step} of iteration {self.iteration + 1}: from there on it is computed in "
                    "two halves",
                )
            if self.folder is not None and now - saved >= self.settings.save_seconds:
                self._save()
                self.folder.prune(self.buffer.capacity)
                saved = monotonic()

        with watch.phase(TRAINING):
            try:
                return self.trainer.train(self.buffer, steps, on_step, self.step, self._rate)
            except NotFinite as error:
                raise FloatingPointError(self._tell(error)) from error

    def _tell(self, error: NotFinite) -> str:
        """One line on a loss that is not finite; its batch is saved where there is a folder."""
        text = f"{error} of iteration {self.iteration + 1}"
        if self.folder is None:
            return text
        path = self.folder.path / f"bad-batch-{self.iteration:06}-{error.step:06}{SUFFIX}"
        about = {"iteration": self.iteration, "step": error.step}
        try:
            write_arrays(path, error.batch._asdict(), about)
        except CheckpointError as unwritten:
            return f"{text}; the last good checkpoint is kept; {unwritten}"
        return f"{text}; its batch is in {path.name}, the last good checkpoint is kept"

    # -- strength -----------------------------------------------------------------------------

    def _evaluate(self, watch: Watch) -> None:
        """Play the matches that follow this iteration; its record holds those that ended."""
        if self.folder is not None:
            # Matches take their time: a death in them costs no training.
            with watch.phase(CHECKPOINT):
                self._save()
        begun, record, results = monotonic(), self.records[-1], {}
        self.evaluating = True
        try:
            with watch.phase(EVALUATION):
                for opponent, result in self._matches(watch):
                    results[opponent] = result._asdict()
        except torch.OutOfMemoryError:
            text = "the matches did not fit into the memory beside the workers: some are missing"
            watch.event("out-of-memory", text)
        finally:
            self.evaluating = False
            seconds = monotonic() - begun
            self.records[-1] = record._replace(evaluation_seconds=seconds, matches=results)

    def _matches(self, watch: Watch) -> Iterator[tuple[str, MatchResult]]:
        first, deals = self._first_network(), self.settings.deals
        network, search = self.trainer.network, self.last_search()
        return measure_strength(network, first, search, deals, watch.match)

    def last_search(self) -> SearchConfig:
        """The last iteration's: how a schedule searches is no part of a network's strength."""
        settings, search = self.settings, self.engine.search
        determinizations, simulations = settings.determinizations, settings.simulations
        return search._replace(
            players=settings.players,
            cards=settings.cards,
            determinizations=determinizations.last if determinizations else search.determinizations,
            simulations=simulations.last if simulations else search.simulations,
        )

    def _first_network(self) -> BlobNet:
        """The one that training began with; what it was built as, where nothing is kept."""
        assert self._first is not None
        if self.folder is not None:
            load_weights(self._first, read_arrays(self.folder.network(0)).arrays)
        return self._first

    # -- what is said of it -------------------------------------------------------------------

    def _record(self) -> IterationRecord:
        games = sum(chunk.games for chunk in self.chunks)
        tenth = self._losses[-max(1, len(self._losses) // 10) :]
        ages = Counter[str]()
        for chunk in self.chunks:
            ages.update(chunk.weights_ages)
        aged, uses = self._window()
        self.examples_by_age, self.examples_by_uses = _counted(aged), _counted(uses)
        played = sum(chunk.seconds for chunk in self.chunks)
        return IterationRecord(
            iteration=self.iteration + 1,
            games=games,
            determinizations=self.engine.search.determinizations,
            simulations=self.engine.search.simulations,
            chunks=len(self.chunks),
            self_play_seconds=played,
            evaluations_per_game=sum(chunk.evaluations for chunk in self.chunks) / games,
            examples=sum(chunk.rows for chunk in self.chunks),
            buffer_examples=len(uses),
            steps=self.step,
            training_seconds=self._training_seconds,
            learning_rate=self.trainer.learning_rate * self._rate(max(0, self.step - 1)),
            policy_loss=sum(x.policy for x in tenth) / len(tenth) if tenth else None,
            value_loss=sum(x.value for x in tenth) / len(tenth) if tenth else None,
            weights_hash=weights_hash(weights_of(self.trainer.network)),
            weights_ages=dict(ages),
            mean_age=float(aged.mean()) if len(uses) else 0.0,
            mean_uses=float(uses.mean()) if len(uses) else 0.0,
            core_seconds=self._core_seconds(played),
        )

    def _core_seconds(self, played: float) -> float | None:
        """Of an iteration that played for so many seconds."""
        if self.engine.device != "cpu" or self.trainer.device.type != "cpu":
            return None
        threads = sum(spec.threads for spec in self.engine.specs)
        training = self._training_seconds * self.trainer.shards
        return played * min(threads, usable_cores()) + training

    def _window(self) -> tuple[np.ndarray, np.ndarray]:
        """[window] of each example: iterations since it was played, times it was trained on."""
        places = self.buffer.window_indices
        games = self.buffer.examples.game[places]
        begun = np.searchsorted(self._first_games, games, side="right")
        return len(self._first_games) - begun, self.buffer.uses[places]

    # -- the folder ---------------------------------------------------------------------------

    def _save_iteration(self) -> None:
        """Save the state between two iterations, the metrics, and what others load."""
        assert self.folder is not None
        self.folder.save_network(self.iteration, weights_of(self.trainer.network))
        # Before the checkpoint: a record of an iteration that is played again is replaced.
        self.folder.keep_records([record._asdict() for record in self.records])
        self._save()
        self.folder.prune(self.buffer.capacity)

    def _save(self) -> None:
        assert self.folder is not None
        about = {
            "iteration": self.iteration,
            "step": self.step,
            "first_games": self._first_games,
            "added": self.buffer.added,
            "sampler": self.buffer.sampler,
            "training_seconds": self._training_seconds,
        }
        losses = np.array(self._losses, np.float64).reshape(-1, 2)
        arrays = {**self.trainer.state(), "uses": self.buffer.uses, "losses": losses}
        self.folder.save_checkpoint(self.iteration, self.step, arrays, about)

    def resume(self) -> None:
        """Take up the run in the folder at its newest checkpoint; without one, begin it.

        Raises CheckpointError, in one line, when a file is damaged, missing, or of another run.
        """
        assert self.folder is not None
        path = self.folder.newest_checkpoint
        if path is None:
            return
        self._resumed = True
        try:
            if self._first is not None:
                self._first_network()
            self._restore(*read_arrays(path))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"{path} cannot be gone on from: {reason}") from None
        weights = weights_of(self.trainer.network)
        if not self.step and weights_hash(weights) != self.engine.pool.weights_hash:
            self.engine.update_weights(self.trainer.network)

    def _restore(self, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
        assert self.folder is not None
        if arrays["uses"].shape != self.buffer.uses.shape:
            raise ValueError(f"its buffer holds {len(arrays['uses']):,} examples")
        self.trainer.load_state(arrays)
        self.iteration, self.step = about["iteration"], about["step"]
        self._first_games = list(about["first_games"])
        self._losses = [StepLoss(*losses) for losses in arrays["losses"].tolist()]
        self._training_seconds = about["training_seconds"]
        records = [IterationRecord(**record) for record in self.folder.records()]
        self.records = [record for record in records if record.iteration <= self.iteration]
        self._refill(about["added"], arrays["uses"])
        self.buffer.sampler = about["sampler"]

    def _refill(self, added: int, uses: np.ndarray) -> None:
        """Fill the buffer from the chunks: `added` examples up to the checkpoint, then the rest."""
        assert self.folder is not None
        end = max(0, added - self.buffer.capacity)
        for path in self.folder.chunks(self.iteration):
            columns, about = read_arrays(path)
            chunk = Chunk(**about)
            if chunk.added_before > end:
                raise ValueError(f"examples {end:,} to {chunk.added_before:,} are not in games/")
            self._take(chunk, Examples(**columns))
            end = chunk.end
            if end == added:
                self.buffer.uses[:] = uses
        if end < added:
            raise ValueError(f"examples {end:,} to {added:,} are not in games/")


def _counted(values: np.ndarray) -> dict[int, int]:
    """How often each value is there, in the order of the values."""
    return dict(sorted(Counter(values.tolist()).items()))
