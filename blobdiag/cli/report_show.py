"""`blobdiag report show`: draw a saved report."""

from __future__ import annotations

from typing import Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.report_argument import ReportFile
from blobdiag.model.output_format import Format


@command("blobdiag report show mine.json", "blobdiag report show mine.json --format markdown")
def show(
    file: ReportFile,
    format: Annotated[
        Format | None, typer.Option(help="Print the report in this form instead of tables")
    ] = None,
) -> None:
    """Draw a saved report, without running anything."""
    from blobdiag.model.report_files import read_report
    from blobdiag.render import formats

    formats.show(read_report(file), format)
