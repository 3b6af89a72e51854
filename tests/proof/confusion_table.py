"""The error rate of the diagnosis, counted: injected causes, other architectures, healthy runs.

    python tests/proof/confusion_table.py FOLDER --runs 6 --healthy 60

Each real run is a `blobdiag` command of its own, or a program of tests/programs, whose report stays
in FOLDER; what is there already is not run again. The table is judged anew from the reports: a
changed threshold needs no new runs. The first half of each row was there while thresholds were
set; the second half is held out: its errors are counted apart.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from runs import PROGRAM, SMALL, SUPPORT, Run, found, play_all, played, upper_bound

from blobdiag.model.faults import FAULTS

sys.path.append(SUPPORT)
from healthy_runs import healthy_replays, healthy_runs
from sick_runs import sick_runs

HEALTHY: dict[str, tuple[str, ...]] = {
    "default": (),
    "small network": SMALL,
    "64 lanes": ("--lanes", "64"),
    "3 players, 7 cards": ("--players", "3", "--cards", "7", "--lanes", "64"),
    "one worker": ("--workers", "1"),
    "5 × 10 simulations": ("--determinizations", "5", "--simulations", "10"),
}
"""Configurations in which nothing is wrong."""
NEIGHBOUR_EVERY = 4
"""Of so many healthy runs one has a busy process beside it."""
PROGRAMS = {
    "8 threads, one lock": (("threads_gil", "--threads", "8"), "gil-bound-threads"),
    "queue-bound server": (("queue_server",), "queue-bound-server"),
    "1 thread, no server": (("threads_gil", "--threads", "1"), None),
}
"""Programs of other architectures, and what must be found in them."""
SCRIPTED = 200
"""Healthy runs made up, and as many real ones replayed with other rates and new noise."""


class Judged(NamedTuple):
    """One run's answer beside the right one."""

    row: str
    expected: str | None
    found: list[str]
    held_out: bool | None
    """None: a scripted run, of which there are no halves."""

    @property
    def wrong(self) -> bool:
        """A cause missed; in real runs, which have one cause, anything else that is found too."""
        if self.held_out is None and self.expected:
            # Scripted stories have what comes with them: 60 workers share batches out as well.
            return self.expected not in self.found
        return self.found != ([self.expected] if self.expected else [])


def planned(runs: int, healthy: int) -> Iterator[Run]:
    """`runs` of each fault and program, then `healthy` ones, the configurations taking turns."""
    for number in range(runs):
        for fault in FAULTS:
            command = "check-gpu" if fault.name == "device-not-propagated" else "compare"
            seeded = ("--seed", str(number), "--inject", fault.name)
            yield Run(fault.name, number, (command, *seeded), fault.finding)
        for name, (program, finding) in PROGRAMS.items():
            yield Run(name, number, (PROGRAM, *program), finding)
    for number in range(healthy):
        name, options = list(HEALTHY.items())[number % len(HEALTHY)]
        command = ("compare", "--seed", str(1000 + number), *options)
        yield Run(name, number, command, None, number % NEIGHBOUR_EVERY == NEIGHBOUR_EVERY - 1)


def judged(runs: int, healthy: int, folder: Path) -> Iterator[Judged]:
    """Every answer: real runs that are there, then scripted ones."""
    for run, report in played(list(planned(runs, healthy)), folder):
        half = healthy // 2 if run.row in HEALTHY else runs // 2
        yield Judged(run.row, run.expected, found(report), run.number >= half)
    for finding, _, scripted in sick_runs():
        yield Judged(f"scripted: {finding}", finding, found(scripted.report()), None)
    for _, report in healthy_runs(SCRIPTED):
        yield Judged("scripted: healthy", None, found(report), None)
    for _, report in healthy_replays(SCRIPTED):
        yield Judged("replayed: healthy", None, found(report), None)


def table(answers: list[Judged]) -> Table:
    """The confusion table: a row a cause or healthy configuration."""
    drawn = Table("run", "n", "found", "errors", "held out", "95 % bound", box=None)
    drawn.title = "Findings by cause"
    for row in dict.fromkeys(answer.row for answer in answers):
        _add(drawn, row, [answer for answer in answers if answer.row == row])
    for name, expected in (("all healthy, real", False), ("all with a cause, real", True)):
        real = [a for a in answers if a.held_out is not None and bool(a.expected) == expected]
        if real:
            _add(drawn, name, real)
    return drawn


def _add(drawn: Table, name: str, answers: list[Judged]) -> None:
    seen = Counter(finding for a in answers for finding in (a.found or ["nothing"]))
    counts = ", ".join(f"{finding} {count}" for finding, count in seen.most_common())
    errors = sum(a.wrong for a in answers)
    out = [a.wrong for a in answers if a.held_out]
    bound = f"{upper_bound(errors, len(answers)):.1%}"
    held_out = f"{sum(out)} of {len(out)}" if out else "–"
    drawn.add_row(name, str(len(answers)), counts, str(errors), held_out, bound)


def main() -> int:
    """Run what is missing and print the table; 1 where any run was judged wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=6, help="of each injected cause and program")
    parser.add_argument("--healthy", type=int, default=60)
    arguments = parser.parse_args()
    console = Console(width=120)
    runs = list(planned(arguments.runs, arguments.healthy))
    play_all(runs, arguments.folder, console)
    answers = list(judged(arguments.runs, arguments.healthy, arguments.folder))
    console.print(table(answers))
    return 1 if any(answer.wrong for answer in answers) else 0


if __name__ == "__main__":
    sys.exit(main())
