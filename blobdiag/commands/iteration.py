"""`blobdiag iteration`: what does a full iteration cost, and where does the GPU idle? (Test 3)"""

from __future__ import annotations

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
from blobdiag.commands.session import Judgement, Session
from blobdiag.diagnosis.checks import device_reaches_workers, no_idle_gaps
from blobdiag.diagnosis.evidence import SELF_PLAY, TRAINING
from blobdiag.diagnosis.planning import plan_with
from blobdiag.diagnosis.rates import rates_of
from blobdiag.reporting.figures import figure
from blobdiag.reporting.model import Metric, Plan, Throughput
from blobdiag.settings import Settings
from engine.devices import resolve_auto

COMMAND = "iteration"


def iteration(settings: Settings) -> int:
    """Run one iteration of self-play and training under the sampler; the exit code."""
    device = resolve_auto(settings.device)
    results: list[Metric] = []

    def measure(session: Session) -> None:
        with session.phase("set-up"):
            course = session.engine.iteration(session.settings, device)
            session.at_work.append(course.trainer)
        with session.playing(course.arm):
            results.extend(course.run(session.phase, session.show_games, session.show_steps))
            session.probe(course.arm)

    return sessions.run(COMMAND, device, settings, measure, lambda session: judge(session, results))


def judge(session: Session, results: list[Metric]) -> Judgement:
    """Test 3: a GPU that works in both phases and never idles between, and the days it takes.

    `results` are the iteration's own figures; none where it did not come to its end.
    """
    expectations, settings = session.settings.expectations, session.settings
    workers = [record for arm in session.arms for record in arm.workers()]
    checks = [device_reaches_workers(workers, session.device)]
    rules = [
        rule for arm in session.arms if arm.windows for rule in window_rules(session, arm, 0.0, 1)
    ]
    spans = [span for span in session.trace.spans if span.name in (SELF_PLAY, TRAINING)]
    # Training runs on one GPU, the first worker's: only it has work in both phases.
    first = {worker.device_uuid for worker in workers[:1]} - {None}
    trainers = [u for u in session.gpu_uuids if u in first or (session.arms and not first)]
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
    projection = project(session, settings, throughputs[0], results)
    return Judgement(
        headline(projection),
        checks,
        metrics=results,
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
