"""The result of a match of the built-in engine, as a record of the report."""

from __future__ import annotations

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.base import Interval, Metric
from blobdiag.model.statistics import student
from blobdiag.model.training import Match, TrainedIteration
from engine.matches.evaluation import MatchResult
from engine.training.iterations import IterationRecord


def match_record(
    player: str, opponent: str, result: MatchResult, seconds: float | None = None
) -> Match:
    """A match with a 95 % interval of its score difference: Student's t of the mean over deals."""
    middle, error = result.difference, result.standard_error
    interval = None
    if error is not None:
        half = student(result.deals - 1) * error
        interval = Interval(low=middle - half, high=middle + half)
    return Match(
        player=player,
        opponent=opponent,
        deals=result.deals,
        difference=Metric(
            name="score difference",
            value=middle,
            unit="points",
            interval=interval,
            samples=result.deals,
            reason=None if interval else "a single deal: an interval needs two",
        ),
        exact_bids=result.exact_bids,
        opponents_exact_bids=result.opponents_exact_bids,
        seconds=seconds,
    )


def trained_iteration(record: IterationRecord, player: str) -> TrainedIteration:
    """A finished iteration, as the report holds it; `player` is what played its matches."""
    matches = [
        match_record(player, opponent, MatchResult(**result))
        for opponent, result in record.matches.items()
    ]
    return TrainedIteration(**{**record._asdict(), "matches": matches})
