"""The end of every run: its report is written, shown, and said where it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from blobdiag.cli.streams import report_holds_it, stdout_is_lost
from blobdiag.model.report import Report
from blobdiag.model.report_files import ReportError, rewrite_report, write_new, write_report

MOST_FINDINGS = 3
"""In the closing lines of `run`; all are in the report."""


class ReportFile:
    """The file of one run, its name known before anything is measured."""

    def __init__(self, path: Path, *, numbered: bool) -> None:
        """`numbered` has it take a free name where another run comes to have this one."""
        self.path = path
        self._numbered = numbered
        self._written = False

    def write(self, report: Report) -> None:
        """Write the report, in the place of an earlier one of the same run. Raises ReportError."""
        if self._written:
            rewrite_report(report, self.path)
        else:
            self.path = write_report(report, self.path, numbered=self._numbered)
            self._written = True


def publish(
    report: Report,
    file: ReportFile,
    *,
    html: bool,
    show: Callable[[Report], None],
    say: Callable[[str], None],
) -> int:
    """Write the report and its page, show it and say where they are; the exit code.

    Where it cannot be written it is still shown: the figures are not lost with the disk.
    """
    try:
        file.write(report)
        paths = [file.path]
        if html:
            from blobdiag.render.html import page

            paths.insert(0, file.path.with_suffix(".html"))
            write_new(paths[0], page(report).encode())
    except ReportError as error:
        show(report)
        on_stderr(f"blobdiag: the report could not be written: {error}\n")
        return 2 if report.program is None else report.exit_code or 2
    report_holds_it()
    show(report)
    for path in paths:
        say(f"{path}\n")
    if stdout_is_lost():
        on_stderr("".join(f"blobdiag: stdout is closed or full; see {path}\n" for path in paths))
    return report.exit_code


def on_stderr(text: str) -> None:
    """Write to stderr at once."""
    sys.stderr.write(text)
    sys.stderr.flush()


def closing_lines(report: Report) -> list[str]:
    """What a report came to, in few lines."""
    lines = [f"{report.verdict.value}: {report.verdict_text}"]
    for finding in report.findings[:MOST_FINDINGS]:
        lines += [f"found: {finding.title}", f"  remedy: {finding.remedy}"]
    if len(report.findings) > MOST_FINDINGS:
        lines.append(f"and {len(report.findings) - MOST_FINDINGS} more findings in the report")
    return lines
