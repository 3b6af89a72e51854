"""`blobdiag doctor`: why CUDA is, or is not, seen here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdiag.cli.commands import command

if TYPE_CHECKING:
    from rich.table import Table

    from blobdiag.diagnosis.cuda_causes import DoctorLine


@command("blobdiag doctor", "CUDA_VISIBLE_DEVICES=1 blobdiag doctor")
def doctor() -> int:
    """Why is CUDA not seen? Driver, torch build, environment, container, permissions.

    Exit code 0 where CUDA works or there is no NVIDIA GPU, 1 where something keeps a GPU from
    being seen, 3 where that could not be found out.
    """
    from rich.console import Console

    from blobdiag.diagnosis.cuda_causes import conclude, diagnose
    from blobdiag.measure.cuda_facts import collect_cuda_facts

    facts = collect_cuda_facts()
    lines = diagnose(facts)
    text, code = conclude(facts, lines)
    console = Console()
    console.print(_table(lines))
    console.print(text, soft_wrap=True, markup=False, highlight=False)
    return code


def _table(lines: list[DoctorLine]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from blobdiag.diagnosis.cuda_causes import State

    table = Table(box=None, pad_edge=False)
    for heading in ("looked at", "state", "seen, and what to do"):
        table.add_column(heading, overflow="fold")
    colours = {State.OK: "green", State.PROBLEM: "red", State.UNKNOWN: "yellow"}
    for line in lines:
        seen = f"{line.seen}\n→ {line.remedy}" if line.remedy else line.seen
        # As Text: errors from outside may hold brackets that rich would take for markup.
        table.add_row(line.subject, Text(line.state, style=colours[line.state]), Text(seen))
    return table
