"""`blobdiag report`: draw a saved report, or say whether a file is one."""

from __future__ import annotations

import sys
from pathlib import Path

from blobdiag.reporting import formats
from blobdiag.reporting.files import ReportError, read_report
from blobdiag.reporting.formats import Format


def show(path: Path, form: Format | None = None) -> int:
    """Print a report on stdout; exit code 0, or 2 with one line on stderr."""
    try:
        report = read_report(path)
    except ReportError as error:
        return _refuse(error)
    formats.show(report, form)
    return 0


def validate(path: Path) -> int:
    """Say whether a file is a valid report; exit code 0, or 2 with one line on stderr."""
    try:
        report = read_report(path)
    except ReportError as error:
        return _refuse(error)
    print(f"{path}: valid report of schema version {report.schema_version}")
    return 0


def _refuse(error: ReportError) -> int:
    print(error, file=sys.stderr)
    return 2
