"""How strength grew in a training: points ahead of each opponent, over games and core-minutes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blobdiag.reporting.model import Match, TrainedIteration, TrainingRun
from blobdiag.reporting.words import UNKNOWN, count, margin

LEVEL = -0.5
"""Points a deal: whoever is surely above is level, or ahead."""


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
    """A line for each opponent: what was spent when the network was surely level with it."""
    so_far = spent(run)
    lines = []
    for opponent in opponents(run):
        line = f"level with {opponent}, surely above {LEVEL:g} points: not reached"
        for k, one in enumerate(run.iterations):
            match = match_against(one, opponent)
            interval = match.difference.interval if match else None
            if interval is not None and interval.low > LEVEL:
                line = (
                    f"level with {opponent}, surely above {LEVEL:g} points: after "
                    f"{so_far.games[k]:,} games, {so_far.minutes[k]:.1f} {so_far.unit}"
                )
                break
        lines.append(line)
    return lines
