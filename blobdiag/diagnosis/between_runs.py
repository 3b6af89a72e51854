"""One figure in several runs a side: the ratio new ÷ old, and how surely.

Blocks of one run share its machine state, so that an interval from within a run is far too narrow
for two: of 45 pairs of runs of the same code it called 26 different. What counts is
how much whole runs differ. They are few, so that a bootstrap of them is too narrow as well (its
percentiles lack the factor √(n ÷ (n - 1)) and Student's t: of three runs a side it would call a
fifth of equal pairs different). Instead the runs' logarithms are taken as normal, with one
variance for both sides: the pooled t interval, which keeps its level for sides of equal size also
where their variances are not equal. A spread kept from runs of the same code on the same machine
(A/A runs) is one more sample of that variance, and the only one where there is one run a side.
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
    """Standard error of the value's logarithm within the run; 0 where the run does not say."""


class Ratio(NamedTuple):
    """New ÷ old."""

    value: float
    interval: Interval | None
    """95 %; None where no run-to-run spread is known."""
    spread: Spread | None


def spread_of(values: Sequence[float]) -> Spread:
    """The spread of one configuration's runs, by their values, all above 0; two or more."""
    return Spread(sqrt(variance([log(value) for value in values])), len(values) - 1)


def ratio(old: Sequence[Figure], new: Sequence[Figure], kept: Spread | None = None) -> Ratio:
    """Ratio of the sides' geometric means, with a 95 % interval; all values above 0.

    The variance of a run is the sides' pooled one, `kept` included, and never below that of the
    blocks within the runs: three runs can agree by chance.
    """
    spreads = [spread_of([f.value for f in side]) for side in (old, new) if len(side) > 1]
    spread = pooled([*spreads, *([kept] if kept else [])])
    change = _mean_log(new) - _mean_log(old)
    if spread is None:
        return Ratio(exp(change), None, None)
    within = fmean(figure.log_error**2 for figure in (*old, *new))
    error = sqrt(max(spread.log_sd**2, within) * (1 / len(old) + 1 / len(new)))
    half = student(spread.freedom) * error
    interval = Interval(low=exp(change - half), high=exp(change + half))
    return Ratio(exp(change), interval, spread)


def pooled(spreads: Sequence[Spread]) -> Spread | None:
    """One variance from several, each with the weight of its degrees of freedom."""
    freedom = sum(spread.freedom for spread in spreads)
    if freedom == 0:
        return None
    return Spread(sqrt(sum(s.freedom * s.log_sd**2 for s in spreads) / freedom), freedom)


def _mean_log(side: Sequence[Figure]) -> float:
    return fmean(log(figure.value) for figure in side)
