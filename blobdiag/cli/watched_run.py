"""`run` from its settings to its exit code: watch, judge, write; stdout is the command's alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blobdiag.cli.output_path import report_file
from blobdiag.cli.publish import ReportFile, closing_lines, on_stderr, publish
from blobdiag.cli.streams import closed_stay_closed
from blobdiag.diagnosis.judge import judge
from blobdiag.measure.run import COMMAND, device_of, one_line, run
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

    def finish(report: Report) -> int:
        return publish(_judged(report), file, html=html, show=draw, say=on_stderr)

    closed_stay_closed()
    try:
        return run(
            command,
            settings,
            lambda report: file.write(judge(report)),
            finish,
            lambda line: on_stderr(f"blobdiag: {line}\n"),
        )
    except CannotStart as error:
        on_stderr(f"blobdiag: {error}\n")
        return error.exit_code


def _judged(report: Report) -> Report:
    """Where it cannot be judged, it is written as it is: the command's exit code stays."""
    try:
        return judge(report)
    except Exception as error:
        assert report.program is not None
        code = report.program.exit_code or 0
        if report.program.signal is not None:
            code = 128 + report.program.signal
        if report.ended_early is not None and report.ended_early.kind == "timed-out":
            code = report.ended_early.exit_code
        if report.configuration.get("judge"):
            code = code or report.exit_code
        text = f"It could not be judged: {one_line(error)}"
        return report.model_copy(update={"verdict_text": text, "exit_code": code})
