"""How strength grew in a training: matches against each opponent, over games and core-minutes."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import NamedTuple

from blobdiag.model.training import Match, TrainedIteration, TrainingRun

LEVEL = -0.5
"""Points a deal: an interval wholly above it is level, or ahead."""


class Spent(NamedTuple):
    """What had been spent when each iteration ended: self-play and training, not matches."""

    games: list[int]
    minutes: list[float]
    unit: str
    """Of the minutes: those of all busy cores where that is known, on a CPU."""


def spent(run: TrainingRun) -> Spent:
    """Up to and with each iteration."""
    cores = [one.core_seconds for one in run.iterations if one.core_seconds is not None]
    by_core = len(cores) == len(run.iterations)
    seconds = [one.self_play_seconds + one.training_seconds for one in run.iterations]
    return Spent(
        list(accumulate(one.games for one in run.iterations)),
        [total / 60 for total in accumulate(cores if by_core else seconds)],
        "core-min" if by_core else "min",
    )


def opponents(run: TrainingRun) -> list[str]:
    """Those that the network played against in the course of a training, in order."""
    return list(dict.fromkeys(m.opponent for one in run.iterations for m in one.matches))


def match_against(one: TrainedIteration, opponent: str) -> Match | None:
    """The match that followed an iteration."""
    return next((match for match in one.matches if match.opponent == opponent), None)


def level_at(run: TrainingRun, opponent: str) -> int | None:
    """Index of the first iteration after which two matches in a row are level; None: none.

    Of many matches, a single one comes to it by chance.
    """
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
