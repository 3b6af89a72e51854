"""`blobdiag iteration`: what does an iteration cost, where does the GPU idle? (Test 3)

And the training run that is made of iterations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic

import numpy as np

from blobdiag.commands import session as sessions
from blobdiag.commands.judging import (
    health_checks,
    idle_gaps_of,
    machine_checks,
    not_on_gpu,
    training_rules,
    utilisation,
    window_rules,
)
from blobdiag.commands.kept_run import KeptRun, kept_run
from blobdiag.commands.probing import probe
from blobdiag.commands.session import Judgement, Session
from blobdiag.diagnosis.checks import device_reaches_workers, no_idle_gaps
from blobdiag.diagnosis.evidence import SELF_PLAY, TRAINING
from blobdiag.diagnosis.planning import plan_with
from blobdiag.diagnosis.rates import (
    EXAMPLES_MADE,
    EXAMPLES_PER_SECOND,
    GAMES_PLAYED,
    ITERATIONS,
    WEIGHT_REFRESH,
    rates_of,
)
from blobdiag.diagnosis.statistics import rate
from blobdiag.reporting.figures import figure
from blobdiag.reporting.model import Metric, Plan, Throughput, TrainedIteration, TrainingRun
from blobdiag.run_settings import RunConfiguration, RunSettings, buffer_room
from blobdiag.sampling.host import usable_cores
from blobdiag.tuning import with_tuned
from blobdiag.workload import Arm
from engine.devices import resolve_auto
from engine.pipeline import IterationResult, TrainingPipeline, Watch
from engine.replay import ReplayBuffer
from engine.schedules import Ramp
from engine.telemetry import Progress, subtract_tallies
from engine.training import NetworkTrainer, StepLoss, fastest_dtype

COMMAND = "iteration"
MOST_BLOCKS = 200
WAVES = 4
"""An iteration plays at least so many games a lane, or no stretch of it is steady."""
MOST_MEASURED, LONGEST_MEASURED = 50, 7200.0
"""Of a long training the newest iterations are reported as measured: so many, in so many seconds.

All of it stays in the run's metrics; samples of weeks would fill the memory.
"""


@dataclass
class Timeline:
    """When self-play was steady, and when each training step ended."""

    session: Session
    arm: Arm
    begun: Progress | None = None
    trainings: list[list[float]] = field(default_factory=list)
    """Of each training, the ends of its steps in monotonic seconds."""

    def on_progress(self, progress: Progress) -> None:
        """A steady stretch: from every lane's first finished game until lanes run empty."""
        self.session.show_games(progress)
        full = (progress.wanted or 0) - progress.games > self.arm.engine.lanes
        if full and progress.lanes_settled and self.begun is None:
            self.begun = progress
        if not full and self.begun is not None:
            self.arm.add_window(
                self.begun.time, progress.time, subtract_tallies(progress.tally, self.begun.tally)
            )
            self.begun = None

    def on_step(self, step: int, steps: int, loss: StepLoss) -> None:
        """`steps` are all there will be."""
        self.trainings[-1].append(monotonic())
        self.session.view.progress(step + 1, steps, "steps")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Mark a phase."""
        if name == TRAINING:
            self.trainings.append([])
        with self.session.phase(name):
            yield


@dataclass
class Work:
    """What a run has done so far."""

    pipeline: TrainingPipeline
    timeline: Timeline
    taken_up_at: int
    """Iterations that were finished before."""
    results: list[IterationResult] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    """When each of them began, and the one at hand, in monotonic seconds."""
    forgotten: int = 0
    """Iterations whose measurement was dropped."""

    def forget(self) -> None:
        """Drop the measurement of iterations that are too many, or too old."""
        first = self.begun[0]
        while len(self.results) > 1 and (
            len(self.results) > MOST_MEASURED or self.begun[-1] - self.begun[0] > LONGEST_MEASURED
        ):
            self.forgotten += 1
            del self.results[0], self.begun[0], self.timeline.trainings[0]
        if self.begun[0] > first:
            self.timeline.session.trace.forget(first, self.begun[0])
            self.timeline.arm.forget(self.begun[0])


def iteration(settings: RunSettings, given: set[str]) -> int:
    """Run iterations of self-play and training under the sampler; the exit code.

    `given` are the options that stand on the command line. Raises UserError, in one line, for a
    folder that is in use, holds a run already, or cannot be gone on from.
    """
    with kept_run(settings, given) as kept:
        settings = kept.settings
        device = resolve_auto(settings.device)
        done: list[Work] = []

        def measure(session: Session) -> None:
            with session.phase("set-up"):
                work = set_up(session, with_tuned(settings, device), device, kept)
                done.append(work)
            train(session, work)

        return sessions.run(COMMAND, device, settings, measure, lambda s: judge(s, done))


def set_up(session: Session, settings: RunSettings, device: str, kept: KeptRun) -> Work:
    """Engine, trainer and buffer, as they were where a run is taken up again."""
    arm = Arm(settings, session.network, device)
    engine, training = arm.engine, settings.training
    if settings.lanes is None and (settings.several or device == "cpu"):
        # What was asked for is played, so there are no more lanes than it keeps full.
        most = min(training.games) // (WAVES * len(engine.specs))
        engine.lanes_each = max(1, min(engine.lanes_each, most))
    if not settings.several:
        training = training._replace(games=Ramp.level(max(settings.games, WAVES * engine.lanes)))
    # The trainer's network is the one whose weights go to the workers.
    dtype, cores = kept.training_dtype or settings.dtype, usable_cores()
    if dtype == "auto":
        dtype = fastest_dtype(session.network, trainer_device(device), cores)
    trainer = NetworkTrainer(
        session.network,
        trainer_device(device),
        learning_rate=settings.learning_rate,
        dtype=dtype,
        cores=cores,
    )
    session.at_work.append(trainer)
    buffer = ReplayBuffer(buffer_room(training), settings.seed)
    pipeline = TrainingPipeline(engine, trainer, buffer, training, kept.folder)
    if kept.folder is not None:
        chosen = replace(
            settings,
            device=device,
            workers=len(engine.specs),
            threads=engine.specs[0].threads,
            lanes=engine.lanes_each,
            dtype=arm.dtype,
        )
        configuration = RunConfiguration.of(chosen, dtype)
        kept.folder.configure(f"{configuration.model_dump_json(indent=1)}\n")
        pipeline.resume()
    return Work(pipeline, Timeline(session, arm), pipeline.iteration)


def train(session: Session, work: Work) -> None:
    """Run the iterations that are missing."""
    pipeline, timeline = work.pipeline, work.timeline

    def begin_iteration() -> None:
        work.begun.append(monotonic())
        at, wanted = pipeline.iteration + 1, pipeline.settings.iterations
        session.within = f", iteration {at} of {wanted}" if wanted > 1 and at <= wanted else ""

    watch = Watch(
        phase=timeline.phase,
        progress=timeline.on_progress,
        message=timeline.arm.on_message,
        step=timeline.on_step,
        event=session.event,
    )
    with session.playing(timeline.arm):
        begin_iteration()
        for result in pipeline.run(watch):
            work.results.append(result)
            begin_iteration()
            work.forget()
        probe(session, timeline.arm)


def trainer_device(device: str) -> str:
    """Training runs on one GPU: the first, where any would do."""
    return "cuda:0" if device == "cuda" else device


def judge(session: Session, done: list[Work]) -> Judgement:
    """Test 3: a GPU that works in both phases and never idles between, and the days it takes."""
    expectations = session.settings.expectations
    workers = [record for arm in session.arms for record in arm.workers()]
    checks = [device_reaches_workers(workers, session.device)]
    rules = [
        rule for arm in session.arms if arm.windows for rule in window_rules(session, arm, 0.0, 1)
    ]
    spans = [span for span in session.trace.spans if span.name in (SELF_PLAY, TRAINING)]
    # Training runs on one GPU, the first worker's: only it has work in both phases.
    trainers = [uuid for uuid in session.gpu_uuids if uuid in [w.device_uuid for w in workers[:1]]]
    checks += [
        utilisation(session, SELF_PLAY, rules, session.gpu_uuids),
        utilisation(session, TRAINING, [], trainers),
        no_idle_gaps(
            session.trace,
            trainers,
            spans,
            expectations["idle-gap"],
            not_on_gpu(session),
        ),
    ]
    throughputs = [arm.throughput() for arm in session.arms if arm.windows]
    checks += health_checks(session, throughputs)
    for throughput in throughputs:
        checks += machine_checks(session, throughput)
    finished = done[0].results if done else []
    if done:
        session.training = training_run(done[0])
    if finished and not throughputs:
        session.event("no-plan", "self-play was never steady: raise --games, or lower --lanes")
    gaps = idle_gaps_of(session, trainers)
    if not finished or not throughputs:
        return Judgement(checks=checks, idle_gaps=gaps, validity=rules)
    metrics = [training_rate(done[0]), *facts(finished)]
    projection = project(session, throughputs[0], metrics)
    return Judgement(
        headline(projection),
        checks,
        metrics=[*metrics, *foretold(session, done[0], throughputs[0], metrics)],
        plan=projection,
        idle_gaps=gaps,
        validity=[*rules, *training_rules(session)],
    )


def headline(projection: Plan | None) -> str:
    """The days, in a sentence."""
    if projection is None:
        return ""
    days = projection.days_interval
    between = f" ({figure(days.low)} to {figure(days.high)})" if days else ""
    return (
        f"{projection.iterations:,} iterations of {projection.games_per_iteration:,} games "
        f"take {figure(projection.days)} days{between} on this machine."
    )


def training_rate(work: Work) -> Metric:
    """Examples per second over the steps, each training's first left out.

    It pays for what is made once.
    """
    steps = [np.diff(ends) for ends in work.timeline.trainings if len(ends)]
    seconds = np.concatenate([np.zeros(0), *steps])
    batch = work.pipeline.trainer.batch_size
    # A few hundred blocks say as much as ten thousand steps.
    groups = np.array_split(seconds, min(len(seconds), MOST_BLOCKS)) if len(seconds) else []
    if not groups:
        trained = work.results[0].training
        return Metric(
            name=EXAMPLES_PER_SECOND,
            value=trained.examples_per_second or None,
            unit="examples/s",
            samples=trained.steps,
            reason="a single step: an interval needs more, so raise --games",
        )
    return rate(
        EXAMPLES_PER_SECOND,
        "examples/s",
        [batch * len(g) for g in groups],
        [float(g.sum()) for g in groups],
    )


def project(session: Session, throughput: Throughput, metrics: list[Metric]) -> Plan | None:
    """The days for the planned iterations; None, with an event, when a rate is not known."""
    settings = session.settings
    rates = rates_of(throughput, metrics, session.trace.to_phases())
    try:
        return plan_with(rates, settings.plan_iterations, settings.plan_games, settings.reuse)
    except ValueError as error:
        session.failure = f"no plan: {error}"
        session.event("no-plan", str(error))
        return None


def facts(results: list[IterationResult]) -> list[Metric]:
    """Figures of the iterations that stand in no other place, all together."""
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
        counted.append(("each example trained on", trained / examples, "times"))
    losses = [loss.total for result in results for loss in result.training.losses]
    if losses:
        tenth = max(1, len(losses) // 10)
        counted += [
            ("loss of the first tenth", sum(losses[:tenth]) / tenth, "nats"),
            ("loss of the last tenth", sum(losses[-tenth:]) / tenth, "nats"),
        ]
    return [Metric(name=n, value=float(v), unit=u, samples=1) for n, v, u in counted]


def foretold(
    session: Session, work: Work, throughput: Throughput, metrics: list[Metric]
) -> list[Metric]:
    """What the projection makes of the iterations that really ran, beside what they took.

    Nothing of a single one, of too many, nor where a part of one was done by an earlier process.
    """
    results = work.results
    whole = all(sum(c.games for c in r.played) == r.record.games for r in results)
    refreshed = [s.end for s in session.trace.spans if s.name == WEIGHT_REFRESH and s.end]
    begun = [span.start for span in session.trace.spans if span.name == "set-up"]
    if len(results) < 2 or work.forgotten or not whole or len(refreshed) < len(results):
        return []
    games = sum(result.record.games for result in results) / len(results)
    rates = rates_of(throughput, metrics, session.trace.to_phases())
    reuse = sum(r.training.examples for r in results) / sum(r.record.examples for r in results)
    try:
        made = plan_with(rates, len(results), games, reuse)
    except ValueError:
        return []  # `project` has said why
    projected = 60 * made.minutes_per_iteration * len(results)
    measured = refreshed[len(results) - 1] - begun[0]
    return [
        Metric(name="these iterations, measured", value=measured, unit="s", samples=1),
        Metric(name="these iterations, projected", value=projected, unit="s", samples=1),
    ]


def training_run(work: Work) -> TrainingRun | None:
    """The training so far, for the report; None where a single iteration was only measured."""
    pipeline = work.pipeline
    if pipeline.folder is None and pipeline.settings.iterations == 1:
        return None
    return TrainingRun(
        wanted=pipeline.settings.iterations,
        taken_up_at=work.taken_up_at,
        iterations=[TrainedIteration.model_validate(r._asdict()) for r in pipeline.records],
        examples_by_age=pipeline.examples_by_age,
        examples_by_uses=pipeline.examples_by_uses,
    )
