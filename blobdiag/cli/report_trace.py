"""`blobdiag report trace`: a saved report as a timeline for ui.perfetto.dev."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.report_argument import ReportFile


@command("blobdiag report trace run.json")
def trace(
    file: ReportFile,
    output: Annotated[
        Path | None, typer.Option(help="Trace file; default: FILE's name with .trace.json")
    ] = None,
) -> None:
    """Turn a saved report into a timeline for ui.perfetto.dev or chrome://tracing."""
    from blobdiag.model.report_files import TRACE_SUFFIX, read_report, write_new
    from blobdiag.render.perfetto import trace_text
    from blobdiag.render.words import printable

    output = output or file.with_suffix(TRACE_SUFFIX)
    write_new(output, trace_text(read_report(file)))
    print(printable(str(output)))
