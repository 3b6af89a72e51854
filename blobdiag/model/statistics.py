"""Rates of blocks with 95 % bootstrap intervals.

An interval is valid within its run only: blocks of one run share its machine state, so runs of the
same code differ by more than their intervals show. To compare two configurations, take several
runs of each.

Items are drawn with replacement RESAMPLES times, by multinomial weights rather than by index, so
that the cost depends on the number of distinct game lengths, not of games. The quantiles are the
*expanded* percentiles of Hesterberg (2015, "What Teachers Should Know About the Bootstrap", section
4), since plain ones are too narrow for few items: with 5 blocks plain ones cover the true value in
85 % of cases and expanded ones in 91 %, with 10 blocks in 92 % and 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import erfc, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blobdiag.model.base import Interval, Metric
from blobdiag.model.selfplay import Block, Throughput

RESAMPLES = 5_000
MIN_ITEMS = 5
SEED = 0

_Z = 1.959964  # 97.5 % point of the standard normal
_FEW_FREEDOMS = {1: 12.7062, 2: 4.3027, 3: 3.1824}  # where the expansion below is inaccurate
_EXACT = 10**9  # items of an estimate without sampling error


class _Estimate(NamedTuple):
    """A value, its resampled values `draws` [RESAMPLES], and why either is missing."""

    value: float | None
    draws: NDArray[np.float64] | None
    items: int
    reason: str | None


def rate(
    name: str, unit: str, counts: Sequence[float], seconds: Sequence[float], seed: int = SEED
) -> Metric:
    """Total count ÷ total seconds of blocks, in `unit`; the blocks are resampled."""
    return _metric(name, unit, _rate(counts, seconds, np.random.default_rng(seed)), len(counts))


def evaluations_per_second(blocks: Sequence[Block], seed: int = SEED) -> Metric:
    """Total evaluations ÷ total seconds, in evals/s; the blocks are resampled."""
    estimate = _evaluations(blocks, np.random.default_rng(seed))
    return _metric("evaluations per second", "evals/s", estimate, len(blocks))


def games_per_minute(
    blocks: Sequence[Block],
    evaluations_of_games: Mapping[int, int] | float | None,
    seed: int = SEED,
) -> Metric:
    """Evals/s × 60 ÷ mean evaluations of a finished game, in games/min.

    `evaluations_of_games` is the number of finished games by evaluations per game (a `Counter`);
    the uncertainty of their mean is then part of the interval. A single number is the exact mean.
    If it is None (unknown), the games that finished in the blocks are counted.
    """
    estimate = _games_per_minute(blocks, evaluations_of_games, np.random.default_rng(seed))
    return _metric("games per minute", "games/min", estimate, len(blocks))


def speed_ratio(fast: Throughput, slow: Throughput, seed: int = SEED) -> Metric:
    """Games/min of `fast` ÷ games/min of `slow`, both resampled; dimensionless (×)."""
    rng = np.random.default_rng(seed)
    numerator = _games_per_minute(fast.blocks, _lengths(fast), rng)
    denominator = _games_per_minute(slow.blocks, _lengths(slow), rng)
    samples = min(len(fast.blocks), len(slow.blocks))
    return _metric("speed-up", "×", _quotient(numerator, denominator), samples)


def evaluations_ratio(after: Sequence[Block], before: Sequence[Block], seed: int = SEED) -> Metric:
    """Evals/s of the blocks `after` ÷ evals/s of `before`, both resampled; dimensionless (×)."""
    rng = np.random.default_rng(seed)
    numerator, denominator = (_evaluations(blocks, rng) for blocks in (after, before))
    samples = min(len(after), len(before))
    return _metric("realised gain", "×", _quotient(numerator, denominator), samples)


def _lengths(throughput: Throughput) -> Mapping[int, int] | float | None:
    """Number of games by evaluations per game, or their mean; None if games are counted instead."""
    if throughput.games_counted:
        return None
    mean = throughput.search_health.evaluations_per_game
    return throughput.games_by_evaluations or (mean if mean is not None else {})


def _games_per_minute(
    blocks: Sequence[Block],
    evaluations_of_games: Mapping[int, int] | float | None,
    rng: np.random.Generator,
) -> _Estimate:
    if evaluations_of_games is None:
        return _rate([60 * b.games for b in blocks], [b.seconds for b in blocks], rng)
    return _quotient(_evaluations(blocks, rng), _mean_length(evaluations_of_games, rng), scale=60.0)


def _evaluations(blocks: Sequence[Block], rng: np.random.Generator) -> _Estimate:
    """Evaluations per second."""
    counts = [b.evaluations for b in blocks if b.evaluations is not None]
    if len(counts) < len(blocks):
        return _Estimate(None, None, 0, "the engine does not count its evaluations")
    return _rate(counts, [b.seconds for b in blocks], rng)


def _rate(counts: Sequence[float], seconds: Sequence[float], rng: np.random.Generator) -> _Estimate:
    if not counts:
        return _Estimate(None, None, 0, "no block was measured")
    value = sum(counts) / sum(seconds)
    if len(counts) < MIN_ITEMS:
        return _Estimate(value, None, len(counts), _too_few(len(counts), "block"))
    weights = _weights(np.ones(len(counts), np.int64), rng)
    draws = weights @ np.asarray(counts, np.float64) / (weights @ np.asarray(seconds, np.float64))
    return _Estimate(value, draws, len(counts), None)


def _mean_length(lengths: Mapping[int, int] | float, rng: np.random.Generator) -> _Estimate:
    if not isinstance(lengths, Mapping):
        return _Estimate(float(lengths), np.full(RESAMPLES, float(lengths)), _EXACT, None)
    games = sum(lengths.values())
    if games == 0:
        return _Estimate(None, None, 0, "no game finished within the window")
    evaluations = np.array(list(lengths.keys()), np.float64)
    counts = np.array(list(lengths.values()), np.int64)
    value = float(evaluations @ counts) / games
    if games < MIN_ITEMS:
        return _Estimate(value, None, games, _too_few(games, "finished game"))
    return _Estimate(value, _weights(counts, rng) @ evaluations / games, games, None)


def _quotient(a: _Estimate, b: _Estimate, scale: float = 1.0) -> _Estimate:
    items = min(a.items, b.items)
    if a.value is None or b.value is None:
        return _Estimate(None, None, items, a.reason if a.value is None else b.reason)
    if b.value == 0:
        return _Estimate(None, None, items, "the divisor is 0")
    value = scale * a.value / b.value
    if a.draws is None or b.draws is None:
        return _Estimate(value, None, items, a.reason if a.draws is None else b.reason)
    if not b.draws.all():
        return _Estimate(value, None, items, "some resampled divisors are 0")
    return _Estimate(value, scale * a.draws / b.draws, items, None)


def _metric(name: str, unit: str, estimate: _Estimate, samples: int) -> Metric:
    interval = None
    if estimate.draws is not None:
        tail = _tail(estimate.items)
        low, high = np.quantile(estimate.draws, [tail, 1 - tail])
        interval = Interval(low=float(low), high=float(high))
    return Metric(
        name=name,
        value=estimate.value,
        unit=unit,
        interval=interval,
        samples=samples,
        reason=estimate.reason,
    )


def _too_few(items: int, what: str) -> str:
    return f"only {items} {what}{'' if items == 1 else 's'}: an interval needs {MIN_ITEMS}"


def _weights(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Multinomial draws [RESAMPLES, len(counts)]; kind i has weight counts[i]."""
    total = counts.sum()
    return rng.multinomial(total, counts / total, size=RESAMPLES)


def _tail(items: int) -> float:
    """Probability cut off at either end: 2.5 % expanded for `items` items (Hesterberg 2015)."""
    return 0.5 * erfc(student(items - 1) * sqrt(items / (items - 1)) / sqrt(2))


def student(freedom: int) -> float:
    """97.5 % point of Student's t, to 0.3 % (from 4 degrees of freedom up A & S 26.7.5)."""
    if freedom in _FEW_FREEDOMS:
        return _FEW_FREEDOMS[freedom]
    z, n = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )
