"""`blobdiag iteration`: what does an iteration cost, where does the GPU idle? (Test 3)

And the training run that is made of iterations.
"""

from __future__ import annotations

from typing import cast

from blobdiag.diagnosis.checks import device_reaches_workers, no_idle_gaps
from blobdiag.diagnosis.evidence import SELF_PLAY, TRAINING
from blobdiag.diagnosis.expectations import with_overrides
from blobdiag.diagnosis.planning import plan_with
from blobdiag.diagnosis.rates import EVALUATION, Rates, rates_of
from blobdiag.diagnosis.window_checks import (
    health_checks,
    idle_gaps_of,
    machine_checks,
    not_on_gpu,
    training_rules,
    utilisation,
    window_rules,
)
from blobdiag.measure import session as sessions
from blobdiag.measure.session import Judgement, Session
from blobdiag.model.figures import figure
from blobdiag.model.iteration_settings import IterationSettings
from blobdiag.model.report import Metric, Plan
from blobdiag.targets.builtin.run_folder import kept_run
from blobdiag.targets.protocol import Course, Played
from engine.network.devices import resolve_auto

COMMAND = "iteration"


def iteration(settings: IterationSettings) -> int:
    """Run iterations of self-play and training under the sampler; the exit code.

    Raises UserError, in one line, for a folder that is in use, holds a run already, or cannot be
    gone on from.
    """
    with kept_run(settings) as kept:
        device = resolve_auto(kept.settings.device)
        courses: list[Course] = []

        def measure(session: Session) -> None:
            # The session's are the same settings, with the tuned ones filled in.
            tuned = kept._replace(settings=cast(IterationSettings, session.settings))
            with session.phase("set-up"):
                course = session.engine.course(tuned, device)
                courses.append(course)
                session.at_work.append(course)
            with session.playing(course.arm):
                course.run(session)
                session.probe(course.arm)

        return sessions.run(COMMAND, device, kept.settings, measure, lambda s: judge(s, courses))


def judge(session: Session, courses: list[Course]) -> Judgement:
    """Test 3: a GPU that works in both phases and never idles between, and the days it takes."""
    expectations = with_overrides(session.settings.expect)
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
    figures = [figure for course in courses for figure in course.figures()]
    if courses:
        session.training = courses[0].training_run()
    if figures and not throughputs:
        session.event("no-plan", "self-play was never steady: raise --games, or lower --lanes")
    gaps = idle_gaps_of(session, trainers)
    if not figures or not throughputs:
        return Judgement(checks=checks, metrics=figures, idle_gaps=gaps, validity=rules)
    rates = rates_of(throughputs[0], figures, session.trace.to_phases())
    projection = project(session, rates)
    return Judgement(
        headline(projection),
        checks,
        metrics=[*figures, *foretold(courses[0].played(session.trace), rates)],
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


def project(session: Session, rates: Rates) -> Plan | None:
    """The days for the planned iterations; None, with an event, when a rate is not known."""
    settings = session.settings
    try:
        return plan_with(rates, settings.plan_iterations, settings.plan_games, settings.reuse)
    except ValueError as error:
        session.failure = f"no plan: {error}"
        session.event("no-plan", str(error))
        return None


def foretold(played: Played | None, rates: Rates) -> list[Metric]:
    """What the projection makes of the iterations that really ran, beside what they took."""
    if played is None:
        return []
    # How often there are matches is a setting, which a few iterations do not show.
    once = {n: s for n, s in rates.iteration_seconds.items() if not n.startswith(EVALUATION)}
    rates = rates._replace(iteration_seconds=once)
    try:
        made = plan_with(rates, played.iterations, played.games, played.reuse)
    except ValueError:
        return []  # `project` has said why
    projected = 60 * made.minutes_per_iteration * played.iterations
    return [
        Metric(name="these iterations, measured", value=played.seconds, unit="s", samples=1),
        Metric(name="these iterations, projected", value=projected, unit="s", samples=1),
    ]
