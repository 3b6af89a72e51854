"""Where a command's report goes, known before anything is measured."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from blobdiag.model.errors import UserError
from blobdiag.model.report_files import REPORTS, check_writable, report_path


def html_path(report: Path) -> Path:
    """The page that stands beside a report."""
    return report.with_suffix(".html")


def report_file(
    command: str, device: str, output: Path | None, html: bool, folder: Path = REPORTS
) -> Path:
    """A name that is free, its page's too if `html`, in a folder that can be written to.

    `folder` is where it goes if no `output` is asked for. Raises UserError.
    """
    if output is None:
        check_writable(folder)
        return report_path(folder, command, device, datetime.now(UTC))
    beside = [html_path(output)] if html else []
    if output in beside:
        raise UserError(f"--output {output}: --html needs this name for its page")
    for file in (output, *beside):
        try:
            there = file.exists()
        except OSError as error:  # a name that is too long
            raise UserError(f"--output {file}: {error.strerror}") from None
        if there:
            raise UserError(f"--output {file}: the file exists; nothing is overwritten")
    check_writable(output.parent)
    return output
