"""`blobdiag doctor`: why CUDA is, or is not, seen here."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blobdiag.diagnosis.cuda_causes import Line, State, conclude, diagnose
from blobdiag.sampling.cuda_probe import collect
from blobdiag.targets.builtin.kernel_cache import kernel_cache_is_writable


def doctor() -> int:
    """Print what was looked at and the first cause.

    Returns 0 where CUDA works or there is no NVIDIA GPU (CPU only), 1 where something keeps a GPU
    from being seen, 3 where it could not be found out.
    """
    facts = collect(kernel_cache_is_writable())
    lines = diagnose(facts)
    text, code = conclude(facts, lines)
    console = Console()
    console.print(_table(lines))
    console.print(text, soft_wrap=True, markup=False, highlight=False)
    return code


def _table(lines: list[Line]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("looked at", "state", "seen, and what to do"):
        table.add_column(heading, overflow="fold")
    colours = {State.OK: "green", State.PROBLEM: "red", State.UNKNOWN: "yellow"}
    for line in lines:
        seen = f"{line.seen}\n→ {line.remedy}" if line.remedy else line.seen
        # As Text: errors from outside may hold brackets that rich would take for markup.
        table.add_row(line.subject, Text(line.state, style=colours[line.state]), Text(seen))
    return table
