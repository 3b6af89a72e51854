"""Predicted gains beside realised ones: `check-gpu --verify-fix` on many doses.

python tests/proof/predicted_gains.py FOLDER
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from runs import SMALL, Run, play_all, played

from blobdiag.diagnosis.causes import find_all
from blobdiag.model.faults import BY_NAME

DOSES = ("tiny-batches:3", "tiny-batches:8", "tiny-batches:16", "oversubscription:8")
DOSES += ("oversubscription:4", "oversubscription:2")
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "bfloat16": ("--dtype", "bfloat16"),
    "float32": ("--dtype", "float32"),
    "small network": (*SMALL, "--dtype", "float32"),
}
WITHIN = 0.25
"""Of the realised gain."""


def planned() -> Iterator[Run]:
    """Every dose in every configuration."""
    for name, options in CONFIGURATIONS.items():
        for dose in DOSES:
            command = ("check-gpu", "--device", "cpu", "--verify-fix", "--inject", dose, *options)
            yield Run(f"{dose} {name}", 0, command, BY_NAME[dose.partition(":")[0]].finding)


def table(runs: list[Run], folder: Path) -> tuple[Table, int]:
    """Predicted against realised, and how many are further apart than WITHIN."""
    drawn = Table("run", "predicted", "realised", "predicted ÷ realised", "", box=None)
    outside = 0
    for run, report in played(runs, folder):
        seen = report.verification
        # Judged anew: a changed prediction needs no new runs.
        gains = {finding.name: finding.gain for finding in find_all(report)}
        gain = gains.get(run.expected or "")
        predicted = gain.self_play_factor if gain else None
        if seen is None or predicted is None or seen.realised.value is None:
            drawn.add_row(run.row, "–", "–", "–", "not found")
            continue
        ratio = predicted / seen.realised.value
        apart = abs(ratio - 1) > WITHIN
        outside += apart
        row = (f"{predicted:.2f} ×", f"{seen.realised.value:.2f} ×", f"{ratio:.2f}")
        drawn.add_row(run.row, *row, "more than 25 % apart" if apart else "")
    return drawn, outside


def main() -> int:
    """Run what is missing and print the table; 1 where a prediction was too far off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    console, runs = Console(width=100), list(planned())
    play_all(runs, arguments.folder, console)
    drawn, outside = table(runs, arguments.folder)
    console.print(drawn)
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
