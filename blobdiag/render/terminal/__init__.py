"""A report drawn for the terminal: the verdict first, then its evidence.

Pure drawing: nothing is computed here but the form of a figure. An unknown value is drawn as "–"
with its reason, never as 0; colour only repeats what a word says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console, RenderableType

from blobdiag.model.report import Report
from blobdiag.render.shortened import shortened
from blobdiag.render.terminal import circumstances, judged, measured, plan, processes, training

_SECTIONS: Sequence[Callable[[Report], RenderableType | None]] = (
    judged.verdict,
    processes.program,
    processes.processes,
    processes.workers,
    measured.throughput,
    training.matches,
    training.training,
    measured.metrics,
    measured.phases,
    measured.idle_gaps,
    judged.checks,
    judged.validity,
    judged.findings,
    judged.verification,
    plan.plan,
    circumstances.environment,
    circumstances.events,
)


def render(report: Report, console: Console) -> None:
    """Draw every section that has content; lists and texts of any length are cut."""
    report = shortened(report)
    for section in _SECTIONS:
        drawn = section(report)
        if drawn is not None:
            console.print(drawn)
            console.print()
