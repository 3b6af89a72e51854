"""What a run was made on and what happened meanwhile: environment, unknowns, events."""

from __future__ import annotations

from rich.console import RenderableType

from blobdiag.model import names
from blobdiag.model.report import Report
from blobdiag.render import words
from blobdiag.render.terminal.drawing import new_table, plain
from blobdiag.render.unknowns import by_reason

MOST_NAMES = 6
"""Of metrics that are not known, a reason."""


def environment(report: Report) -> RenderableType:
    table = new_table("Environment", header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in words.environment(report):
        table.add_row(name, plain(text))
    for line in _not_known(report):
        table.add_row("not known", plain(line))
    return table


def _not_known(report: Report) -> list[str]:
    """A line for each reason, with metric names; those of several GPUs or processes once."""
    short = ((_short(name), reason) for name, reason in report.unsupported.items())
    return [f"{_listed(names)}: {reason}" for reason, names in by_reason(short).items()]


def _short(metric: str) -> str:
    """Without the GPU or process it is of: 'sm_clock'."""
    return names.parse(metric).metric or metric


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    rest = f" and {more:,} more (see the JSON)" if more > 0 else ""
    return ", ".join(names[:MOST_NAMES]) + rest


def events(report: Report) -> RenderableType | None:
    if not report.events:
        return None
    table = new_table("Events")
    table.add_column("at s", justify="right", no_wrap=True)
    table.add_column("kind", overflow="fold")
    table.add_column("what happened", overflow="fold")
    for event in report.events:
        # The stack of a failure is in the file.
        lines = event.text.strip().splitlines()[-1:] if event.kind == "failed" else [event.text]
        table.add_row(f"{event.at_s:.1f}", plain(event.kind), plain("".join(lines)))
    return table
