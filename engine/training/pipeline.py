"""TrainingPipeline: self-play → replay buffer → training → new weights in the workers, repeated.

With a RunFolder a run survives being killed. What is lost is the unit in progress: a chunk of
self-play, or the training since the last checkpoint. It is repeated: every chunk starts with empty
lanes, its games are identified by number, and the state of the sampler that draws batches is saved.
With one worker of one thread in float32 on the CPU, a run that was killed and resumed ends with the
same weights as one that was not, to the last bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import NamedTuple

import torch

from engine.matches.evaluation import MatchResult
from engine.matches.strength import OnMatch, measure_strength
from engine.network.blobnet import BlobNet, load_weights, weights_hash, weights_of
from engine.search.lanes import SearchConfig
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.results import MessageCallback, ProgressCallback, SelfPlayResult
from engine.training.checkpoint import CheckpointError, read_arrays
from engine.training.iterations import Chunk, IterationRecord, TrainingSettings
from engine.training.records import iteration_record
from engine.training.replay import ReplayBuffer
from engine.training.run_folder import RunFolder
from engine.training.saving import RunSaver
from engine.training.schedules import Ramp, cosine
from engine.training.state import TrainingState, WindowCounts
from engine.training.trainer import NetworkTrainer, NotFinite, StepLoss, TrainingResult

SELF_PLAY, BUFFER, TRAINING = "self-play", "replay buffer", "training"
EVALUATION = "evaluation"
SAVING, CHECKPOINT, WEIGHTS = "saving games", "checkpoint", "weight refresh"

LONGEST_CHUNK = 1.5
"""The last chunk of an iteration may be this many times the usual size, to include the rest."""

PhaseMarker = Callable[[str], AbstractContextManager[object]]
"""Called with a phase's name; the phase's work runs inside the context it returns."""


class IterationResult(NamedTuple):
    """A finished iteration, and the part of it that this process did."""

    record: IterationRecord
    played: list[Chunk]
    training: TrainingResult


class Callbacks(NamedTuple):
    """Functions that a run calls."""

    phase: PhaseMarker = lambda name: nullcontext()
    progress: ProgressCallback | None = None
    message: MessageCallback | None = None
    step: Callable[[int, int, StepLoss], None] = lambda step, steps, loss: None
    """After each training step: its number from 0, the number of steps, its loss."""
    match: OnMatch = lambda opponent, games, ended: None
    event: Callable[[str, str], None] = lambda kind, text: None
    """A warning: its kind, and a line of text."""


class TrainingPipeline:
    """A training run, from its first iteration or from where `resume` restores it, to its last.

    Args:
      engine: its workers get the weights of the trainer's network after every iteration.
      trainer: trains the network that plays.
      buffer: the examples trained on.
      settings: by default one iteration of TrainingSettings.
      folder: where the run is saved; None: nowhere.

    Raises ValueError for illegal settings.
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
        self.state = TrainingState()
        self.examples_by_age: dict[int, int] = {}
        """Of the last training: number of examples by iterations since they were played."""
        self.examples_by_uses: dict[int, int] = {}
        """Of the last training: number of examples by times they were trained on."""
        self.evaluating = False
        """Whether matches are being played."""
        self._saver = None if folder is None else RunSaver(folder, trainer, buffer)
        self._resumed = False
        self._first: BlobNet | None = None
        """The network before the first iteration, as an opponent in matches."""
        if self.settings.evaluate_every is not None:
            self._first = copy.deepcopy(trainer.network)

    @property
    def iteration(self) -> int:
        """Finished iterations."""
        return self.state.iteration

    @property
    def records(self) -> list[IterationRecord]:
        """Records of the finished iterations; of the current one from the end of its training."""
        return self.state.records

    def run(self, callbacks: Callbacks | None = None) -> Iterator[IterationResult]:
        """Run the remaining iterations; yields each once it is finished and saved.

        Raises CheckpointError when the folder cannot be written or holds a run that was not
        resumed, FloatingPointError for a loss that is not finite, and what engine and trainer
        raise.
        """
        callbacks = callbacks or Callbacks()
        if self.folder is not None and self._saver is not None and not self._resumed:
            if self.folder.newest_checkpoint is not None:
                raise CheckpointError(f"{self.folder.path} holds a training run: resume it first")
            self._saver.save_iteration(self.state)
        while self.iteration < self.settings.iterations:
            yield self._iterate(callbacks)

    def resume(self) -> None:
        """Restore the run in the folder from its newest checkpoint; no-op without a checkpoint.

        Raises CheckpointError, in one line, when a file is damaged, missing, or of another run.
        """
        assert self.folder is not None
        assert self._saver is not None
        path = self.folder.newest_checkpoint
        if path is None:
            return
        self._resumed = True
        if self._first is not None:
            self._first_network()
        self.state = self._saver.restore(path)
        weights = weights_of(self.trainer.network)
        if not self.state.step and weights_hash(weights) != self.engine.pool.weights_hash:
            self.engine.update_weights(self.trainer.network)

    # -- one iteration ------------------------------------------------------------------------

    def _iterate(self, callbacks: Callbacks) -> IterationResult:
        settings, search, state = self.settings, self.engine.search, self.state
        # Set even if no games are left to play: the record of a resumed iteration needs it too.
        self.engine.search = search._replace(
            determinizations=self._at(settings.determinizations, search.determinizations),
            simulations=self._at(settings.simulations, search.simulations),
            noise_share=settings.root_noise,
        )
        played = []
        while missing := self._missing_games():
            played.append(self._play(self._chunk_games(missing), callbacks))
        self.engine.injection.gap()
        trained = self._train(callbacks)
        state.records.append(self._record())
        if settings.evaluates(state.iteration):
            self._evaluate(callbacks)
        state.begin_iteration()
        if self._saver is not None:
            with callbacks.phase(CHECKPOINT):
                self._saver.save_iteration(state)
        with callbacks.phase(WEIGHTS):
            self.engine.update_weights(self.trainer.network)
        return IterationResult(state.records[-1], played, trained)

    def _at(self, ramp: Ramp | None, otherwise: int) -> int:
        """A ramp's value in the current iteration."""
        return otherwise if ramp is None else ramp.at(self.iteration, self.settings.iterations)

    def _missing_games(self) -> int:
        """Games left to play; 0 once training has begun, since the weights have changed."""
        wanted = self._at(self.settings.games, 0) - self.state.games
        return 0 if self.state.step else max(0, wanted)

    def _chunk_games(self, missing: int) -> int:
        """Games of the next chunk, of the `missing` ones."""
        rate = self.state.games_per_second
        if self.settings.chunk_games is not None:
            size = self.settings.chunk_games
        elif self.folder is None:
            size = missing
        elif rate is None:
            size = self.engine.lanes  # no speed is known yet: a game per lane
        else:
            size = max(1, int(rate * self.settings.chunk_seconds / LONGEST_CHUNK))
        return missing if missing < LONGEST_CHUNK * size else size

    def _play(self, games: int, callbacks: Callbacks) -> Chunk:
        settings, first = self.settings, self.state.next_game
        with callbacks.phase(SELF_PLAY):
            played = self.engine.generate_games(
                games,
                settings.players,
                settings.cards,
                callbacks.progress,
                callbacks.message,
                first_game=first,
            )
        chunk = self._chunk(first, games, played)
        if self._saver is not None:
            with callbacks.phase(SAVING):
                self._saver.save_games(chunk, played.examples)
        with callbacks.phase(BUFFER):
            self.state.add_chunk(chunk, played.examples, self.buffer)
        return chunk

    def _chunk(self, first_game: int, games: int, played: SelfPlayResult) -> Chunk:
        return Chunk(
            iteration=self.iteration,
            first_game=first_game,
            games=games,
            rows=played.examples.rows,
            added_before=self.buffer.added,
            seconds=played.seconds,
            evaluations=int(played.tally["game_evaluations"]),
            weights_ages={str(age): count for age, count in played.weights_ages.items()},
        )

    def _record(self) -> IterationRecord:
        counts = WindowCounts(self.state, self.buffer)
        self.examples_by_age = counts.examples_by_age
        self.examples_by_uses = counts.examples_by_uses
        last = self._rate_share(max(0, self.state.step - 1))
        return iteration_record(self.state, counts, self.engine, self.trainer, last)

    # -- training -----------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Training steps of the current iteration: its examples × `reuse` ÷ batch, at least 1.

        0 while the buffer holds less than `least_examples`.
        """
        if len(self.buffer) < self.settings.least_examples:
            return 0
        trained = self.state.examples * self.settings.reuse
        return max(1, round(trained / self.trainer.batch_size))

    def _rate_share(self, step: int) -> float:
        """A step's share of the learning rate."""
        done = self.iteration + step / max(1, self.steps)
        return cosine(done / self.settings.iterations)

    def _train(self, callbacks: Callbacks) -> TrainingResult:
        state, trainer = self.state, self.trainer
        self.buffer.window = self._at(self.settings.window, self.buffer.capacity)
        steps, begun, halved = self.steps, monotonic(), trainer.halved
        saved = begun

        def on_step(step: int, loss: StepLoss) -> None:
            nonlocal begun, saved, halved
            now = monotonic()
            state.step = step + 1
            state.losses.append(loss)
            state.training_seconds, begun = state.training_seconds + now - begun, now
            callbacks.step(step, steps, loss)
            if trainer.halved and not halved:
                halved = True
                callbacks.event("out-of-memory", self._halved_message(step))
            if self._saver is not None and now - saved >= self.settings.save_seconds:
                self._saver.save_checkpoint(state)
                saved = monotonic()

        with callbacks.phase(TRAINING):
            try:
                return trainer.train(self.buffer, steps, on_step, state.step, self._rate_share)
            except NotFinite as error:
                raise FloatingPointError(self._not_finite_message(error)) from error

    def _halved_message(self, step: int) -> str:
        return (
            f"a batch of {self.trainer.batch_size:,} did not fit into the memory at step {step} of "
            f"iteration {self.iteration + 1}: from there on it is computed in two halves"
        )

    def _not_finite_message(self, error: NotFinite) -> str:
        """One line about a loss that is not finite; its batch is saved where there is a folder."""
        text = f"{error} of iteration {self.iteration + 1}"
        if self._saver is None:
            return text
        try:
            name = self._saver.save_bad_batch(self.iteration, error)
        except CheckpointError as unwritten:
            return f"{text}; the last good checkpoint is kept; {unwritten}"
        return f"{text}; its batch is in {name}, the last good checkpoint is kept"

    # -- strength -----------------------------------------------------------------------------

    def _evaluate(self, callbacks: Callbacks) -> None:
        """Play the matches after this iteration and add those that ended to its record."""
        state = self.state
        if self._saver is not None:
            # Before the matches, which take long: a death during them costs no training.
            with callbacks.phase(CHECKPOINT):
                self._saver.save_checkpoint(state)
        begun, record, results = monotonic(), state.records[-1], {}
        self.evaluating = True
        try:
            with callbacks.phase(EVALUATION):
                for opponent, result in self._matches(callbacks):
                    results[opponent] = result._asdict()
        except torch.OutOfMemoryError:
            text = "the matches did not fit into the memory beside the workers: some are missing"
            callbacks.event("out-of-memory", text)
        finally:
            self.evaluating = False
            seconds = monotonic() - begun
            state.records[-1] = record._replace(evaluation_seconds=seconds, matches=results)

    def _matches(self, callbacks: Callbacks) -> Iterator[tuple[str, MatchResult]]:
        first, deals = self._first_network(), self.settings.deals
        network, search = self.trainer.network, self.last_search()
        return measure_strength(network, first, search, deals, callbacks.match)

    def last_search(self) -> SearchConfig:
        """The search of the last iteration, with which every iteration's matches are played."""
        settings, search = self.settings, self.engine.search
        determinizations, simulations = settings.determinizations, settings.simulations
        return search._replace(
            players=settings.players,
            cards=settings.cards,
            determinizations=determinizations.last if determinizations else search.determinizations,
            simulations=simulations.last if simulations else search.simulations,
        )

    def _first_network(self) -> BlobNet:
        """The network that training began with: the one in the folder, if there is a folder."""
        assert self._first is not None
        if self.folder is not None:
            load_weights(self._first, read_arrays(self.folder.network(0)).arrays)
        return self._first
