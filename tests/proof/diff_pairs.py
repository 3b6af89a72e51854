"""How often `blobdiag report diff` errs, counted on real runs: equal code, and code that is slower.

    python tests/proof/diff_pairs.py FOLDER --pairs 20 --slower 10

Three sides take turns, three runs each: old and new are the same code, slower is slower by a
known share (tests/programs/slowed.py). Old beside new must not be flagged, old beside slower must.
Reports stay in FOLDER: what is there is not run again, and the gate is judged anew. How small a
change three runs a side can show depends on the machine: where runs of the same code differ by 3 %,
it is 10 %; the last line says by how much they did. Longer runs (--min-seconds) differ by less. A
run that broke a rule, beside a busy neighbour above all, is run again: `report diff` would not
count it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from blobdiag.diagnosis.between_runs import pooled
from blobdiag.diagnosis.comparison import broken, compare
from blobdiag.diagnosis.gates import parse
from blobdiag.model.comparison import Spread
from blobdiag.model.report_files import read_report

SLOWER = "slower"
RUN = ("compare", "--games", "5", "--quiet", "--network", "128-1-4-128")
A_SIDE = 3
SIDES = ("old", "new", SLOWER)
SLOWED = Path(__file__).parents[1] / "programs" / "slowed.py"
SECONDS = 180
"""More than any run takes."""
ATTEMPTS = 4


class Run(NamedTuple):
    """One run of one side of one pair."""

    pair: int
    side: str
    number: int

    def report(self, folder: Path) -> Path:
        """Where its report is."""
        return folder / f"{self.pair}-{self.side}-{self.number}.json"


def planned(pairs: int) -> Iterator[Run]:
    """The runs in order: sides take turns, and so does the side that begins."""
    for pair in range(pairs):
        for number in range(A_SIDE):
            first = (pair + number) % len(SIDES)
            for side in SIDES[first:] + SIDES[:first]:
                yield Run(pair, side, number)


def play(run: Run, folder: Path, percent: float, seconds: float) -> None:
    """Run it until its report is valid, unless that is there; a few times at most.

    Raises CalledProcessError where it left none.
    """
    path = run.report(folder)
    program = [str(SLOWED), f"{percent:g}"] if run.side == SLOWER else ["-m", "blobdiag"]
    command = [sys.executable, *program, *RUN, "--min-seconds", f"{seconds:g}"]
    command += ["--output", str(path)]
    for _ in range(ATTEMPTS):
        if usable(path):
            return
        path.unlink(missing_ok=True)
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if not path.exists():
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)


def usable(path: Path) -> bool:
    """Whether the report is there, and `report diff` would count it."""
    return path.exists() and not broken(read_report(path))


def count(side: str, pairs: int, folder: Path, gate: str) -> tuple[Counter[str], list[Spread]]:
    """What the gate came to for old beside `side`, a line a pair that is there; the spreads."""
    came_to, spreads = Counter[str](), []
    for pair in range(pairs):
        sides = [
            [Run(pair, one, number).report(folder) for number in range(A_SIDE)]
            for one in ("old", side)
        ]
        if all(usable(path) for side in sides for path in side):
            old, new = ([read_report(path) for path in side] for side in sides)
            comparison = compare(old, new, gates=[parse(gate)])
            [result] = comparison.gates
            spreads += [
                Spread(change.log_sd, change.freedom)
                for change in comparison.figures
                if change.name == parse(gate).figure and change.log_sd is not None
            ]
            came_to[result.status] += 1
            print(f"{side} {pair}: {result.status}, {result.text}")
    return came_to, spreads


def counts(came_to: Counter[str]) -> str:
    """As text."""
    return ", ".join(f"{status} {n}" for status, n in came_to.items()) or "no pair"


def main() -> int:
    """Run what is missing and print the counts; 1 where they are worse than promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=20, help="of three runs a side")
    parser.add_argument("--slower", type=float, default=10.0, metavar="PERCENT")
    parser.add_argument("--min-seconds", type=float, default=3.0, help="of each run's window")
    parser.add_argument("--gate", default="games_per_minute:5%")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    runs = list(planned(arguments.pairs))
    try:
        for k, run in enumerate(runs):
            print(f"{k + 1}/{len(runs)} {run.report(arguments.folder).name}", flush=True)
            play(run, arguments.folder, arguments.slower, arguments.min_seconds)
    except KeyboardInterrupt:
        print("interrupted: what has been run is counted, the rest goes on next time")
    (same, spreads), (slower, more) = (
        count(side, arguments.pairs, arguments.folder, arguments.gate) for side in ("new", SLOWER)
    )
    print(f"same code: {counts(same)}; {arguments.slower:g} % slower: {counts(slower)}")
    spread = pooled([*spreads, *more])
    if spread is not None:
        print(f"runs of the same code differed by {100 * spread.log_sd:.1f} % (SD)")
    # Of 20 pairs: at most 3 of equal code flagged, at least 17 of slower code.
    kept = same["FAIL"] <= 0.15 * same.total() and slower["FAIL"] >= 0.85 * slower.total()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
