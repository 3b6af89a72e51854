"""The plan: days, the terms of an iteration, and rates for comparison."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from blobdiag.model.figures import figure, figure_range
from blobdiag.model.plan import Plan
from blobdiag.model.report import Report
from blobdiag.render import words
from blobdiag.render.terminal.drawing import heading, new_table, plain


def plan(report: Report) -> RenderableType | None:
    plan = report.plan
    if plan is None:
        return None
    parts: list[RenderableType] = [
        heading("Plan"),
        plain(words.plan_summary(plan), style="bold"),
        plain(words.plan_doubt(plan)),
        Text(),
        _terms(plan),
    ]
    if plan.scenarios:
        parts += [Text(), _scenarios(plan)]
    return Group(*parts)


def _terms(plan: Plan) -> RenderableType:
    table = new_table(None)
    table.add_column("term", overflow="fold")
    for head in ("min", "share", "days saved\nif free"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("formula", overflow="fold")
    for term in plan.terms:
        table.add_row(
            plain(term.name),
            figure(term.minutes),
            f"{100 * term.share:.0f} %",
            figure(term.days_saved_if_free),
            plain(term.formula),
        )
    return table


def _scenarios(plan: Plan) -> RenderableType:
    table = new_table("For comparison")
    table.add_column("scenario", overflow="fold")
    for head in ("games/min", "days"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("assuming", overflow="fold")
    for scenario in plan.scenarios:
        table.add_row(
            plain(scenario.name),
            figure_range(scenario.games_per_minute),
            figure_range(scenario.days),
            plain(scenario.assumption),
        )
    return table
