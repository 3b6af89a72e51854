"""`blobdiag report spread`: store how much runs of the same code differ on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.report_diff import read_side
from blobdiag.model.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from blobdiag.model.comparison import Spread
    from blobdiag.model.report import Report

LEAST_REPORTS = 3


@command("blobdiag report spread a.json b.json c.json")
def spread(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Three reports or more of one configuration"),
    ],
) -> None:
    """Store how much runs of the same code differ on this machine, for `report diff`."""
    from blobdiag.diagnosis.comparison import spread_key
    from blobdiag.render.console import new_console
    from blobdiag.store.spread import save_spreads

    reports = read_side(files)
    check_repeated(files, reports)
    spreads = spreads_of(reports)
    stored_in = save_spreads(spread_key(reports[0]), spreads)
    new_console().print(_table(spreads, len(reports)))
    print(f"stored for `blobdiag report diff` in {stored_in}")


def check_repeated(paths: Sequence[Path], reports: Sequence[Report]) -> None:
    """Raise UserError unless these are enough valid runs of one thing on one machine."""
    from blobdiag.diagnosis.comparison import broken, machine_key, workload

    if len(reports) < LEAST_REPORTS:
        raise UserError(
            f"a spread needs {LEAST_REPORTS} reports or more of one configuration, "
            f"not {len(reports)}"
        )
    first = reports[0]
    for path, report in zip(paths, reports, strict=True):
        if why := broken(report):
            raise UserError(f"{path} cannot be used: {why[0]}")
        if machine_key(report) != machine_key(first):
            raise UserError(f"{path} and {paths[0]} are not of one machine, device and dtype")
        if (report.command, workload(report)) != (first.command, workload(first)):
            raise UserError(f"{path} and {paths[0]} are not of one command and configuration")


def spreads_of(reports: Sequence[Report]) -> dict[str, Spread]:
    """Of every figure that all these runs know and that is above 0."""
    from blobdiag.diagnosis.between_runs import spread_of
    from blobdiag.diagnosis.report_figures import figures

    runs = [figures(report) for report in reports]
    return {
        name: spread_of([run[name].value for run in runs])
        for name in runs[0]
        if all(name in run and run[name].value > 0 for run in runs)
    }


def _table(spreads: Mapping[str, Spread], runs: int) -> Table:
    from rich.table import Table

    drawn = Table("figure", box=None, pad_edge=False, title=f"Spread of {runs} runs")
    drawn.title_justify = "left"
    drawn.add_column("SD", justify="right")
    for name, one in spreads.items():
        drawn.add_row(name, f"{100 * one.log_sd:.2f} %")
    return drawn
