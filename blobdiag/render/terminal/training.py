"""A training, the strength it reached, and matches."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType

from blobdiag.model.report import Report
from blobdiag.model.strength import opponents
from blobdiag.model.training import TrainingRun
from blobdiag.render import strength, words
from blobdiag.render.terminal.drawing import new_table, plain

MOST_ITERATIONS = 30
"""Rows of a table: the newest."""


def training(report: Report) -> RenderableType | None:
    run = report.training
    if run is None:
        return None
    table = new_table(words.training_title(run), gap=1)
    for name, _ in words.TRAINING_COLUMNS:
        table.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    for one in run.iterations[-MOST_ITERATIONS:]:
        table.add_row(*(plain(cell(one)) for _, cell in words.TRAINING_COLUMNS))
    return Group(table, *map(plain, words.staleness(run)), *_strength(run))


def _strength(run: TrainingRun) -> Iterator[RenderableType]:
    """Points ahead of each opponent as the training went on."""
    if opponents(run):
        table = new_table("Strength: points a deal ahead, by duplicate deals", gap=1)
        for head in strength.heads(run):
            table.add_column(plain(head.replace(" ", "\n")), justify="right", no_wrap=True)
        for row in strength.rows(run)[-MOST_ITERATIONS:]:
            table.add_row(*map(plain, row))
        yield table
        yield from map(plain, strength.levels(run))


def matches(report: Report) -> RenderableType | None:
    if not report.matches:
        return None
    table = new_table(words.MATCHES_TITLE, gap=1)
    for number, (head, _) in enumerate(words.MATCH_COLUMNS):
        figures = number >= words.MATCH_WORDS
        table.add_column(
            head,
            justify="right" if figures else "left",
            no_wrap=figures,
            overflow="fold",
        )
    for one in report.matches:
        table.add_row(*(plain(cell(one)) for _, cell in words.MATCH_COLUMNS))
    return table
