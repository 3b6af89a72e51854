"""`blobdiag report judge`: judge a saved report by today's rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.report_argument import ReportFile
from blobdiag.model.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blobdiag.diagnosis.rejudged import JudgementChange
    from blobdiag.model.report import Report

FORMS = ("text", "json")


@command(
    "blobdiag report judge old.json",
    "blobdiag report judge old.json --output judged.json",
    "blobdiag report judge old.json --format json",
)
def judge(
    file: ReportFile,
    output: Annotated[
        Path | None, typer.Option(metavar="NEW", help="Write the judged report to this new file")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="text or json")] = "text",
) -> int:
    """Judge a saved report by today's rules, and say what that changes.

    Shows the verdict, and each check and finding that was added, removed or changed. The exit
    code is the new verdict's. FILE itself stays as it is.
    """
    if form not in FORMS:
        raise UserError(f"--format must be one of {', '.join(FORMS)}, not {form!r}")
    from blobdiag.diagnosis.judge import judge as judged_by_todays_rules
    from blobdiag.diagnosis.rejudged import changes
    from blobdiag.model.report_files import read_report, write_report

    before = read_report(file)
    after = judged_by_todays_rules(before)
    if output is not None:
        write_report(after, output)
    found = changes(before, after)
    print(_as_json(after, found) if form == "json" else _as_text(after, found))
    if output is not None:
        print(output, file=sys.stderr if form == "json" else sys.stdout)
    return after.exit_code


def _as_text(report: Report, found: Sequence[JudgementChange]) -> str:
    from blobdiag.render.words import printable

    lines = [f"{report.verdict}: {report.verdict_text}"]
    lines += [f"  {change}" for change in found] or ["  nothing changed"]
    return "\n".join(map(printable, lines))


def _as_json(report: Report, found: Sequence[JudgementChange]) -> str:
    import json

    return json.dumps(
        {
            "verdict": report.verdict,
            "exit_code": report.exit_code,
            "changes": [change.model_dump() for change in found],
        },
        indent=1,
        ensure_ascii=False,
    )
