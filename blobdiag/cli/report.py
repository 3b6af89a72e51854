"""`blobdiag report …`: what can be made of saved reports."""

from __future__ import annotations

from typing import ClassVar

import typer

from blobdiag.cli.commands import CONTEXT, CommandGroup, Listed


class ReportCommands(CommandGroup):
    """Each in its own module."""

    listed: ClassVar = {
        "show": Listed("report_show:show", "Draw a saved report, without running anything."),
        "html": Listed(
            "report_html:html",
            "Make one HTML page of a saved report: a timeline, and all else; it needs no network.",
        ),
        "validate": Listed(
            "report_validate:validate",
            "Say whether a file is a valid report, and of which schema version.",
        ),
        "judge": Listed(
            "report_judge:judge",
            "Judge a saved report by today's rules, and say what that changes.",
        ),
        "trace": Listed(
            "report_trace:trace",
            "Turn a saved report into a timeline for ui.perfetto.dev or chrome://tracing.",
        ),
        "diff": Listed(
            "report_diff:diff",
            "What changed between two sets of runs, and did anything become worse?",
        ),
        "spread": Listed(
            "report_spread:spread",
            "Store how much runs of the same code differ on this machine, for `report diff`.",
        ),
        "list": Listed(
            "report_list:list_reports",
            "What was measured, when, on which machine: a row for each report.",
        ),
    }


report_app = typer.Typer(
    cls=ReportCommands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=CONTEXT,
)


@report_app.callback()
def report() -> None:
    """Draw, check, judge or compare saved reports."""
