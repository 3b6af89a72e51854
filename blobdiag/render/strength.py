"""The strength of a training as tables and lines: points ahead of each opponent, and when level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from blobdiag.model.strength import LEVEL, level_at, match_against, opponents, spent
from blobdiag.model.training import TrainingRun
from blobdiag.render.words import UNKNOWN, count, margin

MOST_ROWS = 200
"""Of a table in a page: of more iterations every k-th is shown."""

T = TypeVar("T")


def thinned(rows: Sequence[T]) -> list[T]:
    """At most MOST_ROWS of them, evenly, the last one always."""
    step = -(-len(rows) // MOST_ROWS) or 1
    return list(rows[::-step])[::-1]


def heads(run: TrainingRun) -> list[str]:
    """Above `rows`."""
    return ["#", "games", spent(run).unit, *(f"against {opponent}" for opponent in opponents(run))]


def rows(run: TrainingRun) -> list[list[str]]:
    """Of each iteration with matches: its number, what had been spent, points ahead of each."""
    so_far, everyone = spent(run), opponents(run)
    drawn = []
    for one, games, minutes in zip(run.iterations, so_far.games, so_far.minutes, strict=True):
        if one.matches:
            found = [match_against(one, opponent) for opponent in everyone]
            ahead = [UNKNOWN if match is None else margin(match.difference) for match in found]
            drawn.append([str(one.iteration), count(games), f"{minutes:.1f}", *ahead])
    return drawn


def levels(run: TrainingRun) -> list[str]:
    """A line for each opponent: what was spent when the network was surely level with it."""
    so_far = spent(run)
    lines = []
    for opponent in opponents(run):
        at = level_at(run, opponent)
        reached = "not reached, or by one match only"
        if at is not None:
            reached = (
                f"after {so_far.games[at]:,} games, {so_far.minutes[at]:.1f} {so_far.unit}, "
                "and in the match after it"
            )
        lines.append(f"level with {opponent}, surely above {LEVEL:g} points: {reached}")
    return lines
