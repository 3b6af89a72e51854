"""`blobdiag report`: draw a saved report, or say whether a file is one."""

from __future__ import annotations

from pathlib import Path

from blobdiag.reporting import formats
from blobdiag.reporting.files import read_data, read_report, report_of
from blobdiag.reporting.formats import Format


def show(path: Path, form: Format | None = None) -> None:
    """Print a report on stdout. Raises ReportError."""
    formats.show(read_report(path), form)


def validate(path: Path) -> None:
    """Say of which schema version a report is. Raises ReportError where a file is none."""
    data = read_data(path)
    written, read_as = data["schema_version"], report_of(data, path).schema_version
    older = f" (read as version {read_as})" if read_as != written else ""
    print(f"{path}: valid report of schema version {written}{older}")
