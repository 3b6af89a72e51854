"""`blobdiag report`: draw a saved report, or say whether a file is one."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from blobdiag.reporting.files import ReportError, read_report
from blobdiag.reporting.terminal import render


def show(path: Path) -> int:
    """Draw a report on stdout; exit code 0, or 2 with one line on stderr."""
    try:
        report = read_report(path)
    except ReportError as error:
        return _refuse(error)
    render(report, Console(highlight=False))
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
