"""`blobdiag iteration`: what does a full iteration cost, and where does the GPU idle? (Test 3)"""

from __future__ import annotations

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
from blobdiag.commands.probing import probe
from blobdiag.commands.session import Judgement, Session
from blobdiag.diagnosis.checks import device_reaches_workers, no_idle_gaps
from blobdiag.diagnosis.evidence import SELF_PLAY, TRAINING
from blobdiag.diagnosis.planning import plan_with
from blobdiag.diagnosis.rates import (
    EXAMPLES_MADE,
    EXAMPLES_PER_SECOND,
    GAMES_PLAYED,
    rates_of,
)
from blobdiag.diagnosis.statistics import rate
from blobdiag.reporting.figures import figure
from blobdiag.reporting.model import Metric, Plan, Throughput
from blobdiag.sampling.host import usable_cores
from blobdiag.settings import Settings
from blobdiag.workload import Arm
from engine.devices import resolve_auto
from engine.pipeline import IterationResult, TrainingPipeline
from engine.replay import ReplayBuffer
from engine.selfplay import CPU_LANES
from engine.telemetry import Progress, subtract_tallies
from engine.training import NetworkTrainer, StepLoss, fastest_dtype

COMMAND = "iteration"
MOST_BLOCKS = 200
WAVES = 4
"""An iteration plays at least so many games a lane, or no stretch of it is steady."""


class Timeline:
    """When self-play was steady, and when each training step ended."""

    def __init__(self, session: Session, arm: Arm) -> None:
        self.session, self.arm = session, arm
        self.begun: Progress | None = None
        self.steps: list[float] = []

    def on_progress(self, progress: Progress) -> None:
        """The steady stretch: from every lane's first finished game until lanes run empty."""
        self.session.show_games(progress)
        full = (progress.wanted or 0) - progress.games > self.arm.engine.lanes
        if full and progress.lanes_settled and self.begun is None:
            self.begun = progress
        if not full and self.begun is not None and not self.arm.windows:
            self.arm.add_window(
                self.begun.time, progress.time, subtract_tallies(progress.tally, self.begun.tally)
            )

    def on_step(self, step: int, steps: int) -> None:
        """`steps` are all there will be."""
        self.steps.append(monotonic())
        self.session.view.progress(step + 1, steps, "steps")


def iteration(settings: Settings) -> int:
    """Run one iteration of self-play and training under the sampler; the exit code."""
    device = resolve_auto(settings.device)
    results: list[IterationResult] = []
    timelines: list[Timeline] = []

    def measure(session: Session) -> None:
        with session.phase("set-up"):
            settings = session.settings
            arm = Arm(settings, session.network, device, lanes=lanes_for(settings, device))
            games = max(settings.games, WAVES * arm.engine.lanes)
            # Room for all that can come: every decision of every game searched.
            room = games * settings.players * (settings.cards + 1)
            # The trainer's network is the one whose weights go to the workers.
            dtype, cores = settings.dtype, usable_cores()
            if dtype == "auto":
                dtype = fastest_dtype(session.network, trainer_device(device), cores)
            trainer = NetworkTrainer(
                session.network, trainer_device(device), dtype=dtype, cores=cores
            )
            session.at_work.append(trainer)
            pipeline = TrainingPipeline(
                arm.engine, trainer, ReplayBuffer(room, settings.seed), settings.reuse
            )
        timeline = Timeline(session, arm)
        timelines.append(timeline)

        def on_step(step: int, loss: StepLoss) -> None:
            # The buffer holds this iteration's examples and no others.
            timeline.on_step(step, pipeline.steps_for(len(pipeline.buffer)))

        with trainer, session.playing(arm):
            results.append(
                pipeline.run_iteration(
                    games,
                    settings.players,
                    settings.cards,
                    phase=session.phase,
                    on_progress=timeline.on_progress,
                    on_message=arm.on_message,
                    on_step=on_step,
                )
            )
            probe(session, arm)

    return sessions.run(
        COMMAND,
        device,
        settings,
        measure,
        lambda session: judge(session, results, timelines),
    )


def trainer_device(device: str) -> str:
    """Training runs on one GPU: the first, where any would do."""
    return "cuda:0" if device == "cuda" else device


def lanes_for(settings: Settings, device: str) -> int | None:
    """On the CPU few enough lanes for WAVES games each; on CUDA the engine's own number."""
    if device != "cpu":
        return None
    workers = settings.workers or usable_cores()
    return max(1, min(CPU_LANES * (settings.threads or 1), settings.games // (WAVES * workers)))


def judge(session: Session, results: list[IterationResult], timelines: list[Timeline]) -> Judgement:
    """Test 3: a GPU that works in both phases and never idles between, and the days it takes."""
    expectations, settings = session.settings.expectations, session.settings
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
    if results and not throughputs:
        session.event("no-plan", "self-play was never steady: raise --games, or lower --lanes")
    gaps = idle_gaps_of(session, trainers)
    if not results or not throughputs:
        return Judgement(checks=checks, idle_gaps=gaps, validity=rules)
    metrics = [training_rate(timelines[0], results[0]), *facts(results[0])]
    projection = project(session, settings, throughputs[0], metrics)
    return Judgement(
        headline(projection),
        checks,
        metrics=metrics,
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


def training_rate(timeline: Timeline, result: IterationResult) -> Metric:
    """Examples per second over the steps, the first left out: it pays for what is made once."""
    seconds = np.diff(timeline.steps)
    batch = result.training.examples / result.training.steps
    # A few hundred blocks say as much as ten thousand steps.
    groups = np.array_split(seconds, min(len(seconds), MOST_BLOCKS)) if len(seconds) else []
    if not groups:
        return Metric(
            name=EXAMPLES_PER_SECOND,
            value=result.training.examples_per_second,
            unit="examples/s",
            samples=1,
            reason="a single step: an interval needs more, so raise --games",
        )
    return rate(
        EXAMPLES_PER_SECOND,
        "examples/s",
        [batch * len(g) for g in groups],
        [float(g.sum()) for g in groups],
    )


def project(
    session: Session, settings: Settings, throughput: Throughput, metrics: list[Metric]
) -> Plan | None:
    """The days for the planned iterations; None, with an event, when a rate is not known."""
    rates = rates_of(throughput, metrics, session.trace.to_phases())
    try:
        return plan_with(rates, settings.plan_iterations, settings.plan_games, settings.reuse)
    except ValueError as error:
        session.failure = f"no plan: {error}"
        session.event("no-plan", str(error))
        return None


def facts(result: IterationResult) -> list[Metric]:
    """Figures of the iteration that stand in no other place."""
    examples, training = result.self_play.examples.rows, result.training
    losses = training.losses
    tenth = max(1, len(losses) // 10)
    counted = [
        (GAMES_PLAYED, result.self_play.games, "games"),
        (EXAMPLES_MADE, examples, "examples"),
        ("training steps", training.steps, "steps"),
        ("each example trained on", training.examples / examples, "times"),
        ("loss of the first tenth", sum(x.total for x in losses[:tenth]) / tenth, "nats"),
        ("loss of the last tenth", sum(x.total for x in losses[-tenth:]) / tenth, "nats"),
    ]
    return [Metric(name=n, value=float(v), unit=u, samples=1) for n, v, u in counted]
