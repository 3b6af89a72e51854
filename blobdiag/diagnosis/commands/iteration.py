"""`iteration`: what does an iteration cost, when is the GPU idle, how long does training take?"""

from __future__ import annotations

from blobdiag.diagnosis.checks.device import device_reaches_workers
from blobdiag.diagnosis.checks.idle import no_idle_gaps
from blobdiag.diagnosis.checks.machine import machine_checks
from blobdiag.diagnosis.command_judgement import Judgement
from blobdiag.diagnosis.commands.selfplay import (
    health_checks,
    no_gpu,
    not_on_gpu,
    reached,
    utilisation,
)
from blobdiag.diagnosis.facts import (
    expectations,
    gpus_in_use,
    number,
    spans,
    whole_number,
)
from blobdiag.diagnosis.planning import plan_with
from blobdiag.diagnosis.rates import Rates, rates_of
from blobdiag.diagnosis.validity import training_rules, window_rules
from blobdiag.model.base import Metric
from blobdiag.model.figures import figure
from blobdiag.model.names import (
    EVALUATION,
    EXAMPLE_USES,
    GAMES_PLAYED,
    ITERATIONS,
    MEASURED_SECONDS,
    PROJECTED_SECONDS,
    SELF_PLAY,
    TRAINING,
)
from blobdiag.model.plan import Plan
from blobdiag.model.report import Report


def judge(report: Report) -> Judgement:
    """Judge GPU utilisation in both phases and idle gaps, and plan the days of the training."""
    trainers = trainer_gpus(report)
    rules = [r for t in report.throughput for r in window_rules(report, t, 0.0, 1)]
    checks = [
        device_reaches_workers(report.workers, report.device),
        utilisation(report, SELF_PLAY, rules, gpus_in_use(report)),
        utilisation(report, TRAINING, [], trainers),
        no_idle_gaps(
            report,
            trainers,
            spans(report, SELF_PLAY, TRAINING),
            expectations(report)["idle-gap"],
            not_on_gpu(report),
        ),
        *health_checks(report),
    ]
    for throughput in report.throughput:
        checks += machine_checks(report, throughput)
    figures = {metric.name: metric for metric in report.metrics}
    untested = no_gpu(report)
    if GAMES_PLAYED not in figures or not report.throughput:
        steady = "no plan: self-play was never steady; raise --games or lower --lanes"
        remark = steady if GAMES_PLAYED in figures else None
        return Judgement(_speed(report), checks, rules, untested, remark=remark)
    rates = rates_of(report.throughput[0], report.metrics, report.phases)
    rules = [*rules, *training_rules(report)]
    try:
        plan = _planned(report, rates)
    except ValueError as error:
        why = str(error)
        return Judgement(_speed(report), checks, rules, untested, problem=why, remark=why)
    return Judgement(
        " ".join(filter(None, [_speed(report), _days(plan)])),
        checks,
        rules,
        untested,
        plan=plan,
        projected=_projected(figures, rates),
    )


def trainer_gpus(report: Report) -> list[str]:
    """UUIDs of the training GPU, the first worker's: only it has work in both phases."""
    first = {worker.device_uuid for worker in report.workers[:1]} - {None}
    return [uuid for uuid in gpus_in_use(report) if uuid in first or (report.workers and not first)]


def _speed(report: Report) -> str:
    """One sentence with the CPU's games per minute; empty if a GPU was measured."""
    said = reached(report.throughput[0]) if report.throughput else ""
    return f"The CPU reached {said}." if said and no_gpu(report) is not None else ""


def _days(plan: Plan) -> str:
    """One sentence with the days of the plan."""
    days = plan.days_interval
    between = f" ({figure(days.low)} to {figure(days.high)})" if days else ""
    return (
        f"{plan.iterations:,} iterations of {plan.games_per_iteration:,} games "
        f"take {figure(plan.days)} days{between} on this machine."
    )


def _planned(report: Report, rates: Rates) -> Plan:
    """The plan of the configured iterations. Raises ValueError if a rate is unknown."""
    return plan_with(
        rates,
        whole_number(report, "plan_iterations", 500),
        whole_number(report, "plan_games", 10_000),
        number(report, "reuse", 4.0),
    )


def _projected(figures: dict[str, Metric], rates: Rates) -> Metric | None:
    """The seconds that the plan's rates predict for the measured iterations; None: unknown."""
    known = (_value(figures, name) for name in (ITERATIONS, GAMES_PLAYED, EXAMPLE_USES))
    iterations, games, reuse = known
    if MEASURED_SECONDS not in figures or not (iterations and games and reuse):
        return None
    # The measured seconds exclude the matches.
    once = {n: s for n, s in rates.iteration_seconds.items() if not n.startswith(EVALUATION)}
    rates = rates._replace(iteration_seconds=once)
    try:
        made = plan_with(rates, round(iterations), games / iterations, reuse)
    except ValueError:
        return None  # `_planned` has raised the reason
    seconds = 60 * made.minutes_per_iteration * iterations
    return Metric(name=PROJECTED_SECONDS, value=seconds, unit="s", samples=1)


def _value(figures: dict[str, Metric], name: str) -> float | None:
    return figures[name].value if name in figures else None
