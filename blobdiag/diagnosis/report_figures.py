"""Every figure of a report that can be compared with another report, by name.

Figures with a name from blobdiag/diagnosis/gates.py are of the device that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from blobdiag.diagnosis.between_runs import Figure
from blobdiag.diagnosis.facts import (
    arm_of,
    asked,
    bare_rate,
    bare_share,
    gpu_busy,
    gpu_mean,
    gpus,
    stage_shares,
)
from blobdiag.diagnosis.gates import FIGURES
from blobdiag.model.base import Interval, Metric
from blobdiag.model.names import SELF_PLAY, TRAINING
from blobdiag.model.plan import Plan
from blobdiag.model.recorded import Phase
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# Half-width of a 95 % interval in standard errors.
_Z = 1.96
WARM_UP = "warm-up"

_Named = Iterator[tuple[str, Figure | None]]


def figures(report: Report) -> dict[str, Figure]:
    """The known figures, the most important first."""
    named: dict[str, Figure | None] = {}
    throughput = asked(report)
    if throughput is not None:
        named |= dict(_arm(report, throughput)) | dict(_device(report, throughput))
    for other in report.throughput:
        if other is not throughput:
            named |= {f"{name} on {other.device}": f for name, f in _arm(report, other)}
    named |= dict(_plan(report.plan)) if report.plan else {}
    named |= {_name(metric): _of(metric) for metric in report.metrics}
    named |= dict(_phases(report))
    return {name: figure for name, figure in named.items() if figure is not None}


def _arm(report: Report, throughput: Throughput) -> _Named:
    yield "games_per_minute", _of(throughput.games_per_minute)
    yield "evaluations_per_second", _of(throughput.evaluations_per_second)
    yield "mean_batch", _plain(throughput.mean_batch, "rows")
    yield "bare_network", _plain(bare_rate(report, throughput), "evals/s")
    yield "bare_network_share", _plain(bare_share(report, throughput), "")
    yield "distinct_share", _plain(throughput.search_health.distinct_share, "")
    yield "warm_up_seconds", _plain(throughput.warm_up_seconds, "s")
    yield "evaluations per game", _plain(throughput.search_health.evaluations_per_game, "evals")
    for stage, share in stage_shares(arm_of(report, throughput)).items():
        yield f"share of stage {stage}", _plain(share, "")


def _device(report: Report, throughput: Throughput) -> _Named:
    yield "gpu_utilisation", _plain(gpu_busy(report, throughput), "%")
    power, games = gpu_mean(report, throughput, "power"), throughput.games_per_minute.value
    if power and games:
        watts = power * len(gpus(report, arm_of(report, throughput)))
        yield "joules_per_game", _plain(60 * watts / games, "J")


def _plan(plan: Plan) -> _Named:
    error = _log_error(plan.days_interval)
    yield "minutes_per_iteration", Figure(plan.minutes_per_iteration, "min", error)
    yield "plan_days", Figure(plan.days, "days", error)


def _phases(report: Report) -> _Named:
    """Total seconds of each phase, and the means of self-play and training."""
    by_name: dict[str, list[Phase]] = {}
    for phase in report.phases:
        # `_arm` yields the warm-up seconds.
        if phase.name == WARM_UP:
            continue
        by_name.setdefault(phase.name, []).append(phase)
    for name, phases in by_name.items():
        key = "start_up_seconds" if name == "start-up" else f"seconds of {name}"
        yield key, _plain(sum(phase.seconds for phase in phases), "s")
    for name in (SELF_PLAY, TRAINING):
        # Several phases of one name have several means.
        if len(by_name.get(name, [])) == 1:
            for metric in by_name[name][0].metrics:
                yield f"{metric.name} in {name}", _of(metric)


def _name(metric: Metric) -> str:
    """The gate's name for a metric if there is one, else the metric's name."""
    gate = metric.name.replace(" ", "_")
    return gate if gate in FIGURES else metric.name


def _of(metric: Metric) -> Figure | None:
    if metric.value is None:
        return None
    return Figure(metric.value, metric.unit, _log_error(metric.interval))


def _plain(value: float | None, unit: str) -> Figure | None:
    return None if value is None else Figure(value, unit)


def _log_error(interval: Interval | None) -> float:
    if interval is None or interval.low <= 0:
        return 0.0
    return log(interval.high / interval.low) / (2 * _Z)
