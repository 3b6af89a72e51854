"""Iterations of the built-in engine: a single measured one, or a training run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic

from blobdiag.model.base import Metric
from blobdiag.model.iteration_settings import IterationSettings
from blobdiag.model.names import (
    EVALUATE_EVERY,
    EXAMPLE_USES,
    EXAMPLES_MADE,
    GAMES_PLAYED,
    ITERATIONS,
    MEASURED_SECONDS,
    SET_UP,
    TRAINING,
    WEIGHT_REFRESH,
)
from blobdiag.model.training import TrainingRun
from blobdiag.sampling.machine import usable_cores
from blobdiag.sampling.trace import Trace
from blobdiag.targets.builtin.arm import BuiltInArm
from blobdiag.targets.builtin.devices import first_gpu
from blobdiag.targets.builtin.matches import trained_iteration
from blobdiag.targets.builtin.memory import check_fits
from blobdiag.targets.builtin.run_configuration import (
    RunConfiguration,
    buffer_room,
    training_settings,
)
from blobdiag.targets.builtin.run_folder import TrainingJob
from blobdiag.targets.measured_engine import IterationStage
from blobdiag.targets.training_rate import training_rate
from engine.memory import example_bytes
from engine.network.blobnet import BlobNet
from engine.selfplay.telemetry import Progress, subtract_tallies
from engine.training.pipeline import Callbacks, IterationResult, TrainingPipeline
from engine.training.replay import ReplayBuffer
from engine.training.schedules import Ramp
from engine.training.trainer import NetworkTrainer, StepLoss, fastest_dtype

WAVES = 4
"""Minimum number of games per lane in an iteration; with fewer, no stretch of it is steady."""
MOST_MEASURED, LONGEST_MEASURED = 50, 7200.0
"""Number, and total seconds, of the newest iterations whose measurement is stored.

Samples of a training of weeks would fill the memory.
"""


@dataclass
class Timeline:
    """Records the steady stretches of self-play and the end of each training step."""

    stage: IterationStage
    arm: BuiltInArm
    begun: Progress | None = None
    trainings: list[list[float]] = field(default_factory=list)
    """The ends of the steps in monotonic seconds, one list per training."""

    def on_progress(self, progress: Progress) -> None:
        """Add steady stretches as windows: from every lane's first finished game to last wave."""
        self.stage.show_games(progress)
        full = (progress.wanted or 0) - progress.games > self.arm.engine.lanes
        if full and progress.lanes_settled and self.begun is None:
            self.begun = progress
        if not full and self.begun is not None:
            self.arm.add_window(
                self.begun.time, progress.time, subtract_tallies(progress.tally, self.begun.tally)
            )
            self.begun = None

    def on_step(self, step: int, steps: int, loss: StepLoss) -> None:
        """Record the end of step `step` (from 0) of `steps`."""
        self.trainings[-1].append(monotonic())
        self.stage.show_steps(step + 1, steps)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Mark a phase; a training phase begins a list of steps."""
        if name == TRAINING:
            self.trainings.append([])
        with self.stage.phase(name):
            yield


class BuiltInIterations:
    """Self-play, trainer and replay buffer; a resumed run continues from its folder's state."""

    def __init__(self, job: TrainingJob, network: BlobNet, device: str) -> None:
        """Raises DeviceUnavailable, and CheckpointError for a run that cannot be resumed."""
        settings, training = job.settings, training_settings(job.settings)
        self.arm = BuiltInArm(settings, network, device)
        engine = self.arm.engine
        if settings.lanes is None and (settings.several or device == "cpu"):
            # No more lanes than the wanted number of games fills for WAVES waves.
            most = min(training.games) // (WAVES * len(engine.specs))
            engine.lanes_each = max(1, min(engine.lanes_each, most))
        if not settings.several:
            least = WAVES * engine.lanes
            training = training._replace(games=Ramp.level(max(settings.games, least)))
        # `network` is trained in place, and its weights are sent to the workers.
        dtype, cores = job.training_dtype or settings.dtype, usable_cores()
        if dtype == "auto":
            dtype = fastest_dtype(network, first_gpu(device), cores)
        self.trainer = NetworkTrainer(
            network,
            first_gpu(device),
            learning_rate=settings.learning_rate,
            dtype=dtype,
            cores=cores,
        )
        room = buffer_room(training)
        check_fits(
            room * example_bytes(),
            f"{room:,} examples in the replay buffer",
            "choose fewer --games, or a smaller --schedule games= or window=",
        )
        buffer = ReplayBuffer(room, settings.seed)
        self.pipeline = TrainingPipeline(engine, self.trainer, buffer, training, job.folder)
        if job.folder is not None:
            configuration = RunConfiguration.of(self._chosen(settings, device), dtype)
            job.folder.configure(f"{configuration.model_dump_json(indent=1)}\n")
            self.pipeline.resume()
        self._taken_up_at = self.pipeline.iteration
        self._trainings: list[list[float]] = []
        self._results: list[IterationResult] = []
        self._begun: list[float] = []
        """Starts of the measured iterations and of the current one, in monotonic seconds."""
        self._forgotten = 0
        """Number of iterations whose measurement was dropped."""

    def _chosen(self, settings: IterationSettings, device: str) -> IterationSettings:
        engine = self.arm.engine
        return replace(
            settings,
            device=device,
            workers=len(engine.specs),
            threads=engine.specs[0].threads,
            lanes=engine.lanes_each,
            dtype=self.arm.dtype,
        )

    @property
    def at_work(self) -> bool:
        """Whether the trainer or a match may use the device."""
        return self.trainer.at_work or self.pipeline.evaluating

    def run(self, stage: IterationStage) -> None:
        """Run the remaining iterations. Raises what TrainingPipeline.run raises."""
        timeline = Timeline(stage, self.arm)
        self._trainings = timeline.trainings
        callbacks = Callbacks(
            phase=timeline.phase,
            progress=timeline.on_progress,
            message=self.arm.on_message,
            step=timeline.on_step,
            match=lambda opponent, games, ended: stage.show_matches(opponent, ended, games),
            event=stage.event,
        )
        with self.trainer:
            self._begin_iteration(stage)
            for result in self.pipeline.run(callbacks):
                self._results.append(result)
                self._begin_iteration(stage)
                self._forget(stage.trace)

    def _begin_iteration(self, stage: IterationStage) -> None:
        self._begun.append(monotonic())
        at, wanted = self.pipeline.iteration + 1, self.pipeline.settings.iterations
        stage.within = f", iteration {at} of {wanted}" if wanted > 1 and at <= wanted else ""
        if len(self._begun) > 1:
            each = (self._begun[-1] - self._begun[0]) / (len(self._begun) - 1)
            stage.show_end((wanted - at + 1) * each or None)

    def _forget(self, trace: Trace) -> None:
        """Drop the measurement of iterations beyond MOST_MEASURED or LONGEST_MEASURED."""
        first = self._begun[0]
        while len(self._results) > 1 and (
            len(self._results) > MOST_MEASURED
            or self._begun[-1] - self._begun[0] > LONGEST_MEASURED
        ):
            self._forgotten += 1
            del self._results[0], self._begun[0], self._trainings[0]
        if self._begun[0] > first:
            trace.forget(first, self._begun[0])
            self.arm.forget(self._begun[0])

    # -- results ------------------------------------------------------------------------------

    def figures(self, trace: Trace) -> list[Metric]:
        """Rates and counts of the finished iterations; empty if there are none."""
        if not self._results:
            return []
        batch = self.trainer.batch_size
        trained = [result.training for result in self._results]
        seconds = sum(training.seconds for training in trained)
        rate = training_rate(
            [[(end, batch) for end in ends] for ends in self._trainings],
            sum(training.examples for training in trained) / seconds if seconds else None,
        )
        every = self.pipeline.settings.evaluate_every
        matches = [] if every is None else [_count(EVALUATE_EVERY, every, "iterations")]
        seconds_taken = self._seconds_taken(trace)
        taken = [] if seconds_taken is None else [_count(MEASURED_SECONDS, seconds_taken, "s")]
        return [rate, *facts(self._results), *matches, *taken]

    def _seconds_taken(self, trace: Trace) -> float | None:
        """Seconds from set-up to the end of the last iteration, without matches.

        None if they are not comparable with a projection: a single iteration, iterations whose
        measurement was dropped, or a part that was done by an earlier process.
        """
        results = self._results
        whole = all(sum(c.games for c in r.played) == r.record.games for r in results)
        refreshed = [s.end for s in trace.spans if s.name == WEIGHT_REFRESH and s.end]
        begun = [span.start for span in trace.spans if span.name == SET_UP]
        if len(results) < 2 or self._forgotten or not whole or len(refreshed) < len(results):
            return None
        matches = sum(result.record.evaluation_seconds for result in results)
        return refreshed[len(results) - 1] - begun[0] - matches

    def training_run(self) -> TrainingRun | None:
        """The training so far, for the report; None for a single iteration without matches."""
        pipeline = self.pipeline
        has_matches = any(record.matches for record in pipeline.records)
        if pipeline.folder is None and pipeline.settings.iterations == 1 and not has_matches:
            return None
        search = pipeline.last_search()
        player = f"search {search.determinizations} × {search.simulations}"
        return TrainingRun(
            wanted=pipeline.settings.iterations,
            taken_up_at=self._taken_up_at,
            iterations=[trained_iteration(record, player) for record in pipeline.records],
            examples_by_age=pipeline.examples_by_age,
            examples_by_uses=pipeline.examples_by_uses,
        )


class FinishedTraining:
    """A training that has done its iterations, as its folder holds it."""

    at_work = False

    def __init__(self, training: TrainingRun) -> None:
        self._training = training

    def figures(self, trace: Trace) -> list[Metric]:
        """None: nothing was measured."""
        return []

    def training_run(self) -> TrainingRun:
        """All of it."""
        return self._training


def facts(results: list[IterationResult]) -> list[Metric]:
    """Counts and losses of all these iterations together."""
    chunks = [chunk for result in results for chunk in result.played]
    examples = sum(chunk.rows for chunk in chunks)
    trained = sum(result.training.examples for result in results)
    counted: list[tuple[str, float, str]] = [
        (ITERATIONS, len(results), "iterations"),
        (GAMES_PLAYED, sum(chunk.games for chunk in chunks), "games"),
        (EXAMPLES_MADE, examples, "examples"),
        ("training steps", sum(result.training.steps for result in results), "steps"),
    ]
    if examples:
        counted.append((EXAMPLE_USES, trained / examples, "times"))
    losses = [loss.total for result in results for loss in result.training.losses]
    if losses:
        tenth = max(1, len(losses) // 10)
        counted += [
            ("loss of the first tenth", sum(losses[:tenth]) / tenth, "nats"),
            ("loss of the last tenth", sum(losses[-tenth:]) / tenth, "nats"),
        ]
    return [_count(*one) for one in counted]


def _count(name: str, value: float, unit: str) -> Metric:
    return Metric(name=name, value=float(value), unit=unit, samples=1)
