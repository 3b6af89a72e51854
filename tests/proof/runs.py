"""Real runs for the proofs: a command of blobdiag, or a program of another architecture, each kept.

What is in the folder already is not run again, so that a long count can go on where it stopped.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from blobdiag.diagnosis.causes import find_all
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report, write_report

sys.path.append(str(Path(__file__).parents[1] / "support"))
from program_runs import run_program

SUPPORT = str(Path(__file__).parents[1] / "support")
"""What the tests share; it is not installed."""

WINDOW = ("--games", "5", "--min-seconds", "3", "--quiet")
SMALL = ("--network", "128-1-4-128")
PROGRAM = "program"
SECONDS = 180
"""More than any run takes."""


class Run(NamedTuple):
    """One run, and what it must be found to have."""

    row: str
    number: int
    command: tuple[str, ...]
    """blobdiag's arguments; or PROGRAM, its name, its arguments."""
    expected: str | None
    busy_neighbour: bool = False

    @property
    def file(self) -> str:
        """Name of its report's file."""
        return f"{self.row}-{self.number}.json".translate(str.maketrans(" :×", "_-x"))


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


def play(run: Run, folder: Path) -> Report:
    """Its report, from the folder or from a new run.

    Raises CalledProcessError or RuntimeError where a run left none.
    """
    path = folder / run.file
    if not path.exists():
        with neighbour(run.busy_neighbour):
            if run.command[0] == PROGRAM:
                write_report(run_program(*run.command[1:]), path)
            else:
                _run_command(run.command, path)
    return read_report(path)


def _run_command(arguments: tuple[str, ...], path: Path) -> None:
    command = [sys.executable, "-m", "blobdiag", *arguments, *WINDOW, "--output", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if not path.exists():
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)


def play_all(runs: list[Run], folder: Path, console: Console) -> None:
    """Run what is missing; Ctrl-C leaves the rest for the next time."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for k, run in enumerate(runs):
            console.print(f"{k + 1}/{len(runs)} {' '.join(run.command)}", highlight=False)
            play(run, folder)
    except KeyboardInterrupt:
        console.print("interrupted: what has been run is counted, the rest goes on next time")


def played(runs: list[Run], folder: Path) -> Iterator[tuple[Run, Report]]:
    """The runs that are in the folder, with their reports."""
    for run in runs:
        if (folder / run.file).exists():
            yield run, read_report(folder / run.file)


def found(report: Report) -> list[str]:
    """Names of what is found in a report, judged anew."""
    return [finding.name for finding in find_all(report)]


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
