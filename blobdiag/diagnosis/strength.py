"""How strength grew in a training: points ahead of each opponent, over games and core-minutes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from blobdiag.model.training import Match, TrainedIteration, TrainingRun
from blobdiag.render.words import UNKNOWN, count, margin

LEVEL = -0.5
"""Points a deal: whoever is surely above is level, or ahead."""


MOST_ROWS = 200
"""Of a table in a page: of more iterations every k-th is shown."""

T = TypeVar("T")


def thinned(rows: Sequence[T]) -> list[T]:
    """At most MOST_ROWS of them, evenly, the last one always."""
    step = -(-len(rows) // MOST_ROWS) or 1
    return list(rows[::-step])[::-1]


class Spent(NamedTuple):
    """What had been spent when each iteration ended: self-play and training, not matches."""

    games: NDArray[np.int64]
    minutes: NDArray[np.float64]
    unit: str
    """Of the minutes: those of all busy cores where that is known, on a CPU."""


def spent(run: TrainingRun) -> Spent:
    """Up to and with each iteration."""
    cores = [one.core_seconds for one in run.iterations if one.core_seconds is not None]
    by_core = len(cores) == len(run.iterations)
    seconds = [one.self_play_seconds + one.training_seconds for one in run.iterations]
    return Spent(
        np.cumsum([one.games for one in run.iterations]),
        np.cumsum(cores if by_core else seconds) / 60,
        "core-min" if by_core else "min",
    )


def opponents(run: TrainingRun) -> list[str]:
    """Those that the network played against in the course of a training, in order."""
    return list(dict.fromkeys(m.opponent for one in run.iterations for m in one.matches))


def match_against(one: TrainedIteration, opponent: str) -> Match | None:
    """The match that followed an iteration."""
    return next((match for match in one.matches if match.opponent == opponent), None)


def heads(run: TrainingRun) -> list[str]:
    """Above `rows`."""
    unit = spent(run).unit
    return ["#", "games", unit, *(f"against {opponent}" for opponent in opponents(run))]


def rows(run: TrainingRun) -> list[list[str]]:
    """Of each iteration with matches: its number, what had been spent, points ahead of each."""
    so_far = spent(run)
    told = []
    for k, one in enumerate(run.iterations):
        if one.matches:
            found = [match_against(one, opponent) for opponent in opponents(run)]
            ahead = [UNKNOWN if match is None else margin(match.difference) for match in found]
            told.append(
                [
                    str(one.iteration),
                    count(int(so_far.games[k])),
                    f"{so_far.minutes[k]:.1f}",
                    *ahead,
                ]
            )
    return told


def levels(run: TrainingRun) -> list[str]:
    """A line for each opponent: what was spent when the network was surely level with it.

    That is told where two matches in a row have it: of many, one alone comes to it by chance.
    """
    so_far = spent(run)
    lines = []
    for opponent in opponents(run):
        at = _level_at(run, opponent)
        reached = "not reached, or by one match only"
        if at is not None:
            reached = (
                f"after {so_far.games[at]:,} games, {so_far.minutes[at]:.1f} {so_far.unit}, "
                "and in the match after it"
            )
        lines.append(f"level with {opponent}, surely above {LEVEL:g} points: {reached}")
    return lines


def _level_at(run: TrainingRun, opponent: str) -> int | None:
    """The place of the first iteration after which two matches in a row have it; None: none."""
    played = [
        (k, match)
        for k, one in enumerate(run.iterations)
        if (match := match_against(one, opponent)) is not None
    ]
    for (k, first), (_, second) in pairwise(played):
        intervals = [match.difference.interval for match in (first, second)]
        if all(interval is not None and interval.low > LEVEL for interval in intervals):
            return k
    return None
