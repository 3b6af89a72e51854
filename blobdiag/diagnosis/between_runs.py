"""The ratio new ÷ old of one figure measured in several runs per side, with a 95 % interval.

Blocks of one run share its machine state, so an interval from within one run is far too narrow to
compare two runs: of 45 pairs of runs of the same code it called 26 different. The variance between
whole runs is needed. There are few runs, so a bootstrap over runs is too narrow as well (its
percentiles lack the factor √(n ÷ (n - 1)) and Student's t: with three runs per side it would call
a fifth of equal pairs different). Instead the runs' logarithms are modelled as normal, with one
variance for both sides: the pooled t interval, which holds its level for sides of equal size even
if their variances differ. A stored spread, from runs of the same code on the same machine (A/A
runs), is one more sample of that variance, and the only one with a single run per side.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt
from statistics import fmean, variance
from typing import NamedTuple

from blobdiag.model.base import Interval
from blobdiag.model.comparison import Spread
from blobdiag.model.statistics import student


class Figure(NamedTuple):
    """A figure of one run."""

    value: float
    unit: str
    log_error: float = 0.0
    """Standard error of the value's logarithm within the run; 0 if unknown."""


class Ratio(NamedTuple):
    """New ÷ old."""

    value: float
    interval: Interval | None
    """95 %; None where no run-to-run spread is known."""
    spread: Spread | None


def spread_of(values: Sequence[float]) -> Spread:
    """Standard deviation of the logarithms of one configuration's runs.

    `values`: one per run, at least two, all above 0. Raises statistics.StatisticsError for fewer
    than two, ValueError for a value of 0 or less.
    """
    return Spread(sqrt(variance([log(value) for value in values])), len(values) - 1)


def ratio(old: Sequence[Figure], new: Sequence[Figure], stored: Spread | None = None) -> Ratio:
    """Ratio of the sides' geometric means, with a 95 % interval; all values must be above 0.

    The run-to-run variance is pooled over both sides and `stored`, the spread of earlier runs. It
    is never below the variance of the blocks within the runs: three runs can agree by chance.
    """
    spreads = [spread_of([f.value for f in side]) for side in (old, new) if len(side) > 1]
    spread = pooled([*spreads, *([stored] if stored else [])])
    change = _mean_log(new) - _mean_log(old)
    if spread is None:
        return Ratio(exp(change), None, None)
    within = fmean(figure.log_error**2 for figure in (*old, *new))
    error = sqrt(max(spread.log_sd**2, within) * (1 / len(old) + 1 / len(new)))
    half = student(spread.freedom) * error
    interval = Interval(low=exp(change - half), high=exp(change + half))
    return Ratio(exp(change), interval, spread)


def pooled(spreads: Sequence[Spread]) -> Spread | None:
    """Combine variances, weighted by their degrees of freedom; None if there are none."""
    freedom = sum(spread.freedom for spread in spreads)
    if freedom == 0:
        return None
    return Spread(sqrt(sum(s.freedom * s.log_sd**2 for s in spreads) / freedom), freedom)


def _mean_log(side: Sequence[Figure]) -> float:
    return fmean(log(figure.value) for figure in side)
