"""`blobdiag report diff`: what changed between two sets of runs, and whether it became worse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from blobdiag.cli.two_sides import sides
from blobdiag.diagnosis import gates
from blobdiag.diagnosis.comparison import compare, spread_key
from blobdiag.model.errors import UserError
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.render.diff import markdown, render
from blobdiag.store.spread import load_spreads

FORMATS = ("text", "json", "markdown")


def diff(files: Sequence[str], fail_on: Sequence[str], form: str) -> int:
    """Draw the comparison on stdout.

    Exit code: 1 where a gate fails, else 3 where one cannot be told, else 0. Raises UserError.
    """
    if form not in FORMATS:
        raise UserError(f"--format must be one of {', '.join(FORMATS)}, not {form!r}")
    wanted = [gates.parse(text) for text in fail_on]
    old, new = (read_side(paths) for paths in sides(files))
    comparison = compare(old, new, load_spreads(spread_key(new[0])), wanted)
    if form == "json":
        print(comparison.model_dump_json(indent=1))
    elif form == "markdown":
        print(markdown(comparison))
    else:
        render(comparison, Console(highlight=False))
    return comparison.exit_code


def read_side(paths: Sequence[Path]) -> list[Report]:
    """Reports of different runs. Raises UserError for a file that is none, or a run given twice."""
    runs: dict[tuple[str, str, int | None], Path] = {}
    reports = []
    for path in paths:
        report = read_report(path)
        run = (report.command, report.started_utc, report.pid)
        if run in runs:
            raise UserError(f"{path} is of the same run as {runs[run]}: it would count twice")
        runs[run] = path
        reports.append(report)
    return reports
