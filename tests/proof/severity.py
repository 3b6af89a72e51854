"""The mildest dose of a fault that is found: runs with less and less of it.

    python tests/proof/severity.py FOLDER --runs 20

A dose counts as found where its own finding was among those of at least 95 % of its runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from runs import Run, found, play_all, played

from blobdiag.model.faults import BY_NAME

DOSES = {
    "tiny-batches": ("16", "24", "32", "48", "64"),
    "oversubscription": ("4", "3", "2"),
    "phase-gap": ("2", "1.5", "1.2", "1", "0.8"),
}
"""From plain to mild."""
NEEDED = 0.95
ENOUGH = 20
"""Runs of a dose, before a share of 95 % can be told from all."""


def planned(runs: int) -> Iterator[Run]:
    """`runs` of each dose, the doses taking turns."""
    for number in range(runs):
        for fault, doses in DOSES.items():
            for dose in doses:
                row = f"{fault}:{dose}"
                command = ("compare", "--seed", str(2000 + number), "--inject", row)
                yield Run(row, number, command, BY_NAME[fault].finding)


def table(runs: list[Run], folder: Path) -> Table:
    """How often each dose was found."""
    drawn = Table("dose", "n", "found", "other findings", "", box=None, title="Doses found")
    answers = [(run, found(report)) for run, report in played(runs, folder)]
    for row in dict.fromkeys(run.row for run, _ in answers):
        mine = [(run.expected in names, names) for run, names in answers if run.row == row]
        hits = sum(hit for hit, _ in mine)
        others = sum(len(names) - hit for hit, names in mine)
        if len(mine) < ENOUGH:
            enough = f"too few runs: {ENOUGH} needed"
        else:
            enough = "in 95 %" if hits >= NEEDED * len(mine) else "in fewer than 95 %"
        drawn.add_row(row, str(len(mine)), str(hits), str(others), enough)
    return drawn


def main() -> int:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=20, help="of each dose")
    parser.add_argument("--only", help="one dose, like tiny-batches:32")
    arguments = parser.parse_args()
    console = Console(width=100)
    runs = list(planned(arguments.runs))
    wanted = [run for run in runs if arguments.only in (None, run.row)]
    play_all(wanted, arguments.folder, console)
    console.print(table(runs, arguments.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
