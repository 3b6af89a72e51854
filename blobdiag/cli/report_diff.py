"""`blobdiag report diff`: what changed between two sets of runs, and whether it became worse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blobdiag.cli.commands import HelpedCommand, command
from blobdiag.diagnosis import gates
from blobdiag.model.errors import UserError

if TYPE_CHECKING:
    from blobdiag.model.report import Report

FORMS = ("text", "json", "markdown")
SEPARATOR = "\0"
"""In the place of `--`: a name that no file can have."""


class TwoSidedCommand(HelpedCommand):
    """A command that sees where `--` stood. Options may come after it, as before it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As every command, with SEPARATOR among the files in place of `--`."""
        return super().parse_args(ctx, [SEPARATOR if text == "--" else text for text in args])


@command(
    "blobdiag report diff a1.json a2.json a3.json -- b1.json b2.json b3.json",
    "blobdiag report diff old.json new.json --fail-on games_per_minute:5%",
    cls=TwoSidedCommand,
)
def diff(
    files: Annotated[
        list[str], typer.Argument(metavar="OLD... -- NEW...", help="Reports; OLD NEW, if two")
    ],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:PERCENT%",
            help="Exit 1 if the figure became worse by this much; may be repeated. Figures: "
            + ", ".join(gates.FIGURES),
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="text, json or markdown")] = "text",
) -> int:
    """What changed between two sets of runs, and did anything become worse?

    Runs of the same code differ, so compare several reports a side, best of runs that alternated;
    or one report a side, by the spread that `report spread` stores. With --fail-on: exit 1 when
    the figure became worse, 0 when not, 3 when these reports cannot tell.
    """
    if form not in FORMS:
        raise UserError(f"--format must be one of {', '.join(FORMS)}, not {form!r}")
    wanted = [gates.parse(text) for text in fail_on or ()]
    from blobdiag.diagnosis.comparison import compare, spread_key
    from blobdiag.render.console import new_console
    from blobdiag.render.diff import markdown, render
    from blobdiag.store.spread import load_spreads

    old, new = (read_side(paths) for paths in two_sides(files))
    comparison = compare(old, new, load_spreads(spread_key(new[0])), wanted)
    if form == "json":
        print(comparison.model_dump_json(indent=1))
    elif form == "markdown":
        print(markdown(comparison))
    else:
        render(comparison, new_console())
    return comparison.exit_code


def read_side(paths: Sequence[Path]) -> list[Report]:
    """Reports of different runs. Raises UserError for a file that is none, or a run given twice."""
    from blobdiag.model.report_files import read_report

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


def two_sides(files: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """The files before and after SEPARATOR; without it, the first and the second of exactly two.

    Raises UserError.
    """
    if files.count(SEPARATOR) == 1:
        middle = files.index(SEPARATOR)
        old, new = files[:middle], files[middle + 1 :]
        if old and new:
            return [Path(file) for file in old], [Path(file) for file in new]
    elif len(files) == 2 and SEPARATOR not in files:
        return [Path(files[0])], [Path(files[1])]
    raise UserError("report diff takes OLD NEW, or several reports a side: OLD... -- NEW...")
