"""Ratios of several runs a side, proven on simulated runs with a known truth."""

from __future__ import annotations

from math import exp, hypot, sqrt

import numpy as np
import pytest

from blobdiag.diagnosis.between_runs import Figure, Ratio, pooled, ratio, spread_of
from blobdiag.diagnosis.comparison import judge
from blobdiag.diagnosis.gates import Gate
from blobdiag.model.base import Status
from blobdiag.model.comparison import Change, Spread
from blobdiag.model.statistics import student

PAIRS = 600
WITHIN = 0.01
"""Standard error that a run's own blocks leave."""
GATE = Gate("games_per_minute", 5.0)


def pairs(
    spread: float, slower: float = 0.0, sides: tuple[int, int] = (3, 3), kept_freedom: int = 0
) -> list[Ratio]:
    """Many pairs of sides whose new one is slower; runs differ by `spread` and by their blocks."""
    rng = np.random.default_rng(0)
    sd = hypot(spread, WITHIN)

    def side(runs: int, rate: float) -> list[Figure]:
        return [Figure(rate * exp(x), "games/min", WITHIN) for x in rng.normal(0, sd, runs)]

    found = []
    for _ in range(PAIRS):
        kept = None
        if kept_freedom:
            kept = Spread(sd * sqrt(rng.chisquare(kept_freedom) / kept_freedom), kept_freedom)
        found.append(ratio(side(sides[0], 2_000.0), side(sides[1], 2_000.0 * (1 - slower)), kept))
    return found


def gated(ratios: list[Ratio], status: Status) -> float:
    """The share of pairs of which the gate says so."""
    return sum(judge(GATE, [as_change(r)]).status is status for r in ratios) / len(ratios)


def as_change(found: Ratio) -> Change:
    return Change(
        name=GATE.figure,
        unit="games/min",
        better="higher",
        old=1.0,
        new=found.value,
        ratio=found.value,
        interval=found.interval,
    )


def missed(ratios: list[Ratio], truth: float) -> float:
    """The share of intervals that do not hold the truth."""
    return sum(
        r.interval is None or not r.interval.low <= truth <= r.interval.high for r in ratios
    ) / len(ratios)


@pytest.mark.parametrize("spread", [0.015, 0.02, 0.04])
def test_equal_code_is_called_different_in_one_of_twenty(spread: float) -> None:
    same = pairs(spread)
    assert missed(same, 1.0) <= 0.07
    assert gated(same, Status.FAIL) <= 0.035


def test_within_run_intervals_alone_would_call_much_more_different() -> None:
    """What the design saw: the spread between runs is what counts."""
    alone = pairs(0.02, sides=(1, 1), kept_freedom=9)
    blind = [abs(r.value - 1) > 1.96 * sqrt(2) * WITHIN for r in alone]
    assert sum(blind) / len(blind) > 0.3
    assert missed(alone, 1.0) <= 0.07


@pytest.mark.parametrize(
    ("spread", "slower", "kept_freedom"),
    [(0.015, 0.08, 0), (0.02, 0.1, 0), (0.03, 0.1, 0), (0.04, 0.15, 0), (0.03, 0.09, 9)],
)
def test_a_slow_down_is_found_in_17_of_20(spread: float, slower: float, kept_freedom: int) -> None:
    found = pairs(spread, slower, kept_freedom=kept_freedom)
    assert gated(found, Status.FAIL) >= 0.85
    assert gated(found, Status.PASS) <= 0.01


def test_a_gate_passes_where_runs_agree_and_cannot_be_told_where_they_do_not() -> None:
    assert gated(pairs(0.0, kept_freedom=9), Status.PASS) > 0.95
    assert gated(pairs(0.15), Status.INCONCLUSIVE) > 0.8


def test_one_run_against_many_and_two_against_two_keep_their_level() -> None:
    assert missed(pairs(0.02, sides=(5, 1)), 1.0) <= 0.07
    assert missed(pairs(0.02, sides=(2, 2)), 1.0) <= 0.07


def test_one_run_a_side_says_nothing_by_itself() -> None:
    one = [Figure(2_000.0, "games/min", WITHIN)]
    assert ratio(one, one).interval is None
    wide = ratio(one, one, Spread(0.03, 2)).interval
    assert wide is not None
    assert wide.high == pytest.approx(exp(4.3027 * 0.03 * sqrt(2)))


def test_runs_that_agree_by_chance_are_not_surer_than_their_blocks() -> None:
    side = [Figure(2_000.0, "games/min", WITHIN)] * 3
    interval = ratio(side, side).interval
    assert interval is not None
    assert interval.high == pytest.approx(exp(student(4) * WITHIN * sqrt(2 / 3)))


def test_spreads_weigh_by_their_freedom() -> None:
    assert spread_of([1.0, exp(0.02)]) == pytest.approx((0.02 / sqrt(2), 1))
    both = pooled([Spread(0.01, 4), Spread(0.03, 12)])
    assert both == pytest.approx((sqrt((4 * 0.0001 + 12 * 0.0009) / 16), 16))
    assert pooled([]) is None


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (13, 2.160), (60, 2.000)]
)
def test_students_t(freedom: int, t: float) -> None:
    assert student(freedom) == pytest.approx(t, rel=0.003)
