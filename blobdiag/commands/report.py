"""`blobdiag report`: draw a saved report, make a page of it, or say whether a file is one."""

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


def html(path: Path, output: Path | None) -> int:
    """Write a report as one HTML page, by default beside it, and print where; exit code 0, or 2.

    A page that is there is replaced, since its report makes it again; a report never is.
    """
    page_path = path.with_suffix(".html") if output is None else output
    try:
        report = read_report(path)
        if page_path.exists() and page_path.samefile(path):
            raise ReportError(f"{page_path} is the report itself; name another file: --output PAGE")
        from blobdiag.reporting.html import page  # matplotlib is slow to import

        page_path.write_text(page(report), encoding="utf-8")
    except ReportError as error:
        return _refuse(error)
    except OSError as error:
        return _refuse(ReportError(f"cannot write {page_path}: {error.strerror}"))
    print(page_path)
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
