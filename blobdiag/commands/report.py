"""`blobdiag report`: draw a saved report, or say whether a file is one."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from blobdiag.reporting.files import read_data, read_report, report_of
from blobdiag.reporting.terminal import render


def show(path: Path) -> None:
    """Draw a report on stdout. Raises ReportError."""
    render(read_report(path), Console(highlight=False))


def validate(path: Path) -> None:
    """Say of which schema version a report is. Raises ReportError where a file is none."""
    data = read_data(path)
    written, read_as = data["schema_version"], report_of(data, path).schema_version
    older = f" (read as version {read_as})" if read_as != written else ""
    print(f"{path}: valid report of schema version {written}{older}")
