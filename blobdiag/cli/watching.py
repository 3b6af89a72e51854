"""`run` from its settings to its exit code: watch, judge, write; stdout is the command's alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blobdiag.cli.output_path import report_file
from blobdiag.cli.publish import ReportFile, closing_lines, on_stderr, publish
from blobdiag.cli.streams import closed_stay_closed
from blobdiag.diagnosis.judge import judge
from blobdiag.measure.run import COMMAND, device_of, run
from blobdiag.model.errors import CannotStart
from blobdiag.model.output_format import Format
from blobdiag.model.program_settings import ProgramSettings
from blobdiag.model.report import Report
from blobdiag.render.formats import text_of


def watch(
    command: Sequence[str],
    settings: ProgramSettings,
    *,
    output: Path | None,
    html: bool,
    form: Format | None,
    quiet: bool,
) -> int:
    """Run a command, watched, and write its report; its exit code, or ours where it judges.

    Raises UserError, before anything starts.
    """
    path = report_file(COMMAND, device_of(command, settings), output, html)
    file = ReportFile(path, numbered=output is None)

    def draw(report: Report) -> None:
        if form:
            on_stderr(text_of(report, form))
        elif not quiet:
            on_stderr("".join(f"blobdiag: {line}\n" for line in closing_lines(report)))

    closed_stay_closed()
    try:
        return run(
            command,
            settings,
            lambda report: file.write(judge(report)),
            lambda report: publish(judge(report), file, html=html, show=draw, say=on_stderr),
        )
    except CannotStart as error:
        on_stderr(f"blobdiag: {error}\n")
        return error.exit_code
