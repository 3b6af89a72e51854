"""What was measured: rates, metrics, phases and idle gaps."""

from __future__ import annotations

from rich.console import RenderableType

from blobdiag.model.figures import figure, figure_range
from blobdiag.model.report import Report
from blobdiag.render import words
from blobdiag.render.terminal.drawing import new_table, plain

MOST_PHASES = 60
"""Rows of their table: the newest."""


def throughput(report: Report) -> RenderableType | None:
    if not report.throughput:
        return None
    table = new_table("Throughput")
    table.add_column("")
    for one in report.throughput:
        head = plain(f"{one.device}\n{one.dtype or words.UNKNOWN}")
        table.add_column(head, justify="right", overflow="fold")
    for name, cell in words.THROUGHPUT_ROWS:
        table.add_row(plain(name), *(plain(cell(one)) for one in report.throughput))
    return table


def metrics(report: Report) -> RenderableType | None:
    if not report.metrics:
        return None
    table = new_table("Metrics")
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("95 % interval or reason", overflow="fold")
    for metric in report.metrics:
        value = words.UNKNOWN if metric.value is None else f"{figure(metric.value)} {metric.unit}"
        more = figure_range(metric.interval) if metric.interval else metric.reason or ""
        table.add_row(plain(metric.name), plain(value), plain(more))
    return table


def phases(report: Report) -> RenderableType | None:
    if not report.phases:
        return None
    names = list(dict.fromkeys(m.name for phase in report.phases for m in phase.metrics))
    hidden = len(report.phases) - MOST_PHASES
    table = new_table(
        "Phases" if hidden <= 0 else f"Phases (without the first {hidden:,}: see the JSON)"
    )
    table.add_column("phase", overflow="fold")
    table.add_column("device", overflow="fold")
    for head in ("from s", "to s", "seconds"):
        table.add_column(head, justify="right", no_wrap=True)
    for name in names:
        table.add_column(plain(name), justify="right", overflow="fold")
    for phase in report.phases[-MOST_PHASES:]:
        by_name = {metric.name: metric for metric in phase.metrics}
        table.add_row(
            plain(phase.name),
            plain(phase.device or ""),
            *(f"{s:.1f}" for s in (phase.start_s, phase.end_s, phase.seconds)),
            *(plain(words.with_unit(by_name[n]) if n in by_name else "") for n in names),
        )
    return table


def idle_gaps(report: Report) -> RenderableType | None:
    if not report.idle_gaps:
        return None
    names = {gpu.uuid: gpu.name for gpu in report.gpus}
    title = "Idle gaps"
    if report.seconds_shortest_visible_gap is not None:
        title += f" (visible from {figure(report.seconds_shortest_visible_gap)} s up)"
    table = new_table(title)
    table.add_column("device", overflow="fold")
    for head in ("from s", "to s", "seconds"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("phase", overflow="fold")
    for gap in report.idle_gaps:
        table.add_row(
            plain(names.get(gap.device, gap.device)),
            *(f"{s:.1f}" for s in (gap.start_s, gap.end_s, gap.seconds)),
            plain(gap.phase or words.UNKNOWN),
        )
    return table
