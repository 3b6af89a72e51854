"""`blobdiag report trace`: a saved report as a timeline for ui.perfetto.dev."""

from __future__ import annotations

from pathlib import Path

from blobdiag.model.report_files import TRACE_SUFFIX, read_report, write_new
from blobdiag.render.perfetto import trace_text


def trace(path: Path, output: Path | None) -> None:
    """Write the trace, by default beside the report, and print its path.

    Raises ReportError.
    """
    output = output or path.with_suffix(TRACE_SUFFIX)
    write_new(output, trace_text(read_report(path)))
    print(output)
