"""The error rate of the diagnosis, counted on real runs: injected causes and healthy ones.

    python tests/proof/confusion_table.py FOLDER --runs 5 --healthy 60

Each run is a `blobdiag` command of its own, whose report stays in FOLDER; what is there already is
not run again, so that a long count can go on where it stopped. The table is judged anew from the
reports: a changed threshold needs no new runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from blobdiag.diagnosis.findings import find_all
from blobdiag.injections import FAULTS
from blobdiag.reporting.files import read_report

WINDOW = ("--games", "5", "--min-seconds", "3", "--quiet")
SMALL = ("--network", "128-1-4-128")
HEALTHY = {
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
SECONDS = 180
"""More than any run takes."""


class Run(NamedTuple):
    """One command to be run, and what it must be found to have."""

    row: str
    number: int
    command: tuple[str, ...]
    expected: str | None
    busy_neighbour: bool = False

    @property
    def report(self) -> str:
        """Name of its report's file."""
        return f"{self.row}-{self.number}.json".replace(" ", "_").replace("×", "x")


def planned(runs: int, healthy: int) -> Iterator[Run]:
    """`runs` of each fault, then `healthy` ones, the configurations taking turns."""
    for number in range(runs):
        for fault in FAULTS:
            command = "check-gpu" if fault.name == "device-not-propagated" else "compare"
            seeded = ("--seed", str(number), "--inject", fault.name)
            yield Run(fault.name, number, (command, *seeded), fault.finding)
    for number in range(healthy):
        name, options = list(HEALTHY.items())[number % len(HEALTHY)]
        command = ("compare", "--seed", str(1000 + number), *options)
        yield Run(name, number, command, None, number % NEIGHBOUR_EVERY == NEIGHBOUR_EVERY - 1)


@contextmanager
def neighbour(wanted: bool) -> Iterator[None]:
    """A process that keeps a core busy, where one is wanted."""
    if not wanted:
        yield
        return
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def play(run: Run, folder: Path) -> None:
    """Run it, unless its report is there. Raises CalledProcessError where it left none."""
    path = folder / run.report
    if path.exists():
        return
    command = [sys.executable, "-m", "blobdiag", *run.command, *WINDOW, "--output", str(path)]
    with neighbour(run.busy_neighbour):
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if not path.exists():
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)


def upper_bound(errors: int, runs: int) -> float:
    """The 95 % upper bound (Clopper and Pearson 1934, one-sided) of an error rate.

    Where no error was seen it is 1 - 0.05^(1/n), about 3 ÷ n.
    """
    low, high = errors / runs, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(errors, runs, middle) > 0.05 else (low, middle)
    return high


def _at_most(errors: int, runs: int, rate: float) -> float:
    """The probability of so many errors or fewer, each run erring with `rate`."""
    term = total = (1 - rate) ** runs
    for k in range(errors):
        if rate == 1:
            return 0.0
        term *= (runs - k) / (k + 1) * rate / (1 - rate)
        total += term
    return total


def table(runs: list[Run], folder: Path) -> tuple[Table, int]:
    """The confusion table, and how many runs were judged wrongly."""
    drawn = Table("run", "n", "found", "errors", "95 % bound", title="Findings by cause", box=None)
    wrong = 0
    for row in dict.fromkeys(run.row for run in runs):
        seen = Counter[str]()
        mine = [run for run in runs if run.row == row and (folder / run.report).exists()]
        errors = 0
        for run in mine:
            found = [finding.name for finding in find_all(read_report(folder / run.report))]
            seen.update(found or ["nothing"])
            errors += found != ([run.expected] if run.expected else [])
        if mine:
            wrong += errors
            counts = ", ".join(f"{name} {count}" for name, count in seen.most_common())
            bound = f"{upper_bound(errors, len(mine)):.0%}"
            drawn.add_row(row, str(len(mine)), counts, str(errors), bound)
    return drawn, wrong


def main() -> int:
    """Run what is missing and print the table; 1 where any run was judged wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=5, help="of each injected cause")
    parser.add_argument("--healthy", type=int, default=60)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    runs, console = list(planned(arguments.runs, arguments.healthy)), Console(width=110)
    try:
        for k, run in enumerate(runs):
            console.print(f"{k + 1}/{len(runs)} {' '.join(run.command)}", highlight=False)
            play(run, arguments.folder)
    except KeyboardInterrupt:
        console.print("interrupted: what has been run is counted, the rest goes on next time")
    drawn, wrong = table(runs, arguments.folder)
    console.print(drawn)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
