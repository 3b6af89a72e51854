"""`blobdiag report spread`: keep how much runs of the same code differ on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from blobdiag.cli.report_diff import read_side
from blobdiag.diagnosis.between_runs import spread_of
from blobdiag.diagnosis.comparison import broken, machine_key, spread_key, workload
from blobdiag.diagnosis.report_figures import figures
from blobdiag.model.comparison import Spread
from blobdiag.model.errors import UserError
from blobdiag.model.report import Report
from blobdiag.store.spread import save_spreads

LEAST_REPORTS = 3


def spread(paths: Sequence[Path]) -> int:
    """Work the spreads out, keep and print them; exit code 0. Raises UserError."""
    reports = read_side(paths)
    check_repeated(paths, reports)
    spreads = spreads_of(reports)
    kept_in = save_spreads(spread_key(reports[0]), spreads)
    console = Console(highlight=False)
    console.print(table(spreads, len(reports)))
    print(f"kept for `blobdiag report diff` in {kept_in}")
    return 0


def check_repeated(paths: Sequence[Path], reports: Sequence[Report]) -> None:
    """Raise UserError unless these are enough valid runs of one thing on one machine."""
    if len(reports) < LEAST_REPORTS:
        raise UserError(
            f"a spread needs {LEAST_REPORTS} reports or more of one configuration, "
            f"not {len(reports)}"
        )
    first = reports[0]
    for path, report in zip(paths, reports, strict=True):
        if why := broken(report):
            raise UserError(f"{path} does not count: {why[0]}")
        if machine_key(report) != machine_key(first):
            raise UserError(f"{path} and {paths[0]} are not of one machine, device and dtype")
        if (report.command, workload(report)) != (first.command, workload(first)):
            raise UserError(f"{path} and {paths[0]} are not of one command and configuration")


def spreads_of(reports: Sequence[Report]) -> dict[str, Spread]:
    """Of every figure that all these runs know and that is above 0."""
    runs = [figures(report) for report in reports]
    return {
        name: spread_of([run[name].value for run in runs])
        for name in runs[0]
        if all(name in run and run[name].value > 0 for run in runs)
    }


def table(spreads: dict[str, Spread], runs: int) -> Table:
    """A line a figure."""
    drawn = Table("figure", box=None, pad_edge=False, title=f"Spread of {runs} runs")
    drawn.title_justify = "left"
    drawn.add_column("SD", justify="right")
    for name, one in spreads.items():
        drawn.add_row(name, f"{100 * one.log_sd:.2f} %")
    return drawn
