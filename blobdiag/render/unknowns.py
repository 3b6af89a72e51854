"""Everything that a report does not know, by reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from blobdiag.model.report import Report


def unknowns(report: Report) -> dict[str, list[str]]:
    """Reason: the names of what is not known for it, in the report's order."""
    return by_reason(_all(report))


def by_reason(unknown: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """(name, reason) pairs by reason; a repeated name is listed once."""
    names: dict[str, dict[str, None]] = {}
    for name, reason in unknown:
        names.setdefault(reason, {})[name] = None
    return {reason: list(found) for reason, found in names.items()}


def _all(report: Report) -> Iterator[tuple[str, str]]:
    """(what is not known, why)."""
    yield from report.unsupported.items()
    if not report.gpus:
        yield "GPUs", report.gpu_reason or "none was looked for"
    for phase in report.phases:
        for metric in phase.metrics:
            if metric.value is None:
                yield f"{metric.name} in {phase.name}", metric.reason or "not known"
    for metric in report.metrics:
        if metric.value is None:
            yield metric.name, metric.reason or "not known"
    for one in report.throughput:
        for metric in (one.games_per_minute, one.evaluations_per_second):
            if metric.value is None or metric.interval is None:
                what = metric.name if metric.value is None else f"interval of {metric.name}"
                yield f"{what} on {one.device}", metric.reason or "not known"
        health = one.search_health
        figures = health.model_dump(exclude={"trained_weights", "reason"})
        for name, value in figures.items():
            if value is None:
                yield f"{name} on {one.device}", health.reason or "not recorded"
    if report.plan and report.plan.days_interval is None:
        yield "interval of the plan's days", report.plan.interval_reason or "not known"
