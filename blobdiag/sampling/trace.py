"""Time series of samples, and the phases of a run.

Times are seconds of `time.monotonic()`, which all processes of a Linux machine share, so the
sampler's times and the workload's events are comparable.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from time import monotonic
from typing import NamedTuple

from blobdiag.model.names import BIT_MASK
from blobdiag.model.recorded import MOST_POINTS, Phase, Series


@dataclass
class Samples:
    """One metric over time: `times` in monotonic seconds, `values` in `unit`; None: unknown."""

    unit: str
    times: list[float] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    stride: int = 1
    """Number of readings merged into each value."""

    def append(self, time: float, value: float | None) -> None:
        # Value first: a reader in another thread never finds a time without a value.
        self.values.append(value)
        self.times.append(time)

    def between(self, start: float, end: float) -> list[float]:
        """The known values with times in [start, end]."""
        return [
            v
            for t, v in zip(self.times, self.values, strict=False)
            if v is not None and start <= t <= end
        ]

    def forget(self, start: float, end: float) -> None:
        """Drop the samples with times in [start, end)."""
        first, last = bisect_left(self.times, start), bisect_left(self.times, end)
        del self.times[first:last]
        del self.values[first:last]

    def thinned(self, start: float, points: int, cuts: Sequence[float] = ()) -> Thinned:
        """At most `points` values, times in seconds after `start`.

        Neighbouring samples are merged into their mean time and the mean of their known values (of
        bit masks: the union); None only if all are None. No merge crosses one of `cuts` (monotonic
        seconds), so that means between cuts stay exact.
        """
        times = self.times[:]
        buckets = list(_buckets(times, points, cuts))
        known = [sum(v is not None for v in self.values[bucket]) for bucket in buckets]
        return Thinned(
            [fmean(times[bucket]) - start for bucket in buckets],
            [self.merged(self.values[bucket]) for bucket in buckets],
            [count * self.stride for count in known],
        )

    def merged(self, values: Sequence[float | None]) -> float | None:
        """The mean of the known values, or the union of bit masks; None if none is known."""
        known = [value for value in values if value is not None]
        merge = _union if self.unit == BIT_MASK else fmean
        return merge(known) if known else None


class Thinned(NamedTuple):
    """A thinned series for the report; times in seconds of the run."""

    times: list[float]
    values: list[float | None]
    counts: list[int]
    """Number of known readings merged into each value."""


@dataclass
class Span:
    """A phase of the workload, [start, end] in monotonic seconds; `end` is None while it runs."""

    name: str
    start: float
    end: float | None = None
    device: str | None = None


@dataclass
class Trace:
    """Samples by metric name (`gpu/<uuid>/utilization`, `host/cpu`, …) and the phases."""

    start: float = field(default_factory=monotonic)
    samples: dict[str, Samples] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    def add(self, name: str, unit: str, time: float, value: float | None) -> None:
        self.samples.setdefault(name, Samples(unit)).append(time, value)

    def forget(self, start: float, end: float) -> None:
        """Drop the samples within [start, end) and the phases that lie in that time."""
        for samples in list(self.samples.values()):
            samples.forget(start, end)
        self.spans = [s for s in self.spans if s.end is None or s.start < start or s.end > end]

    def between(self, name: str, start: float, end: float) -> list[float]:
        """Known values of one metric within [start, end]; empty if it was never sampled."""
        samples = self.samples.get(name)
        return [] if samples is None else samples.between(start, end)

    @contextmanager
    def phase(self, name: str, device: str | None = None) -> Iterator[Span]:
        """Record the enclosed code as a phase, also if it raises an exception."""
        span = Span(name, monotonic(), device=device)
        self.spans.append(span)
        try:
            yield span
        finally:
            span.end = monotonic()

    def to_series(self, cuts: Sequence[float] = ()) -> list[Series]:
        """All metrics for the report, on the run's clock, thinned to at most MOST_POINTS each."""
        return [
            series(name, samples.unit, samples.thinned(self.start, MOST_POINTS, cuts))
            for name, samples in sorted(self.samples.items())
        ]

    def to_phases(self) -> list[Phase]:
        """The phases for the report, on the run's clock; an open phase ends now."""
        return [
            Phase(
                name=span.name,
                start_s=span.start - self.start,
                end_s=(monotonic() if span.end is None else span.end) - self.start,
                device=span.device,
            )
            for span in self.spans
        ]


def series(name: str, unit: str, thinned: Thinned) -> Series:
    """A series of the report; `counts` stays empty if no values were merged."""
    merged = any(count > 1 for count in thinned.counts)
    counts = thinned.counts if merged else []
    return Series(name=name, unit=unit, times_s=thinned.times, values=thinned.values, counts=counts)


def _buckets(times: Sequence[float], points: int, cuts: Sequence[float]) -> Iterator[slice]:
    """At most `points` slices of neighbouring samples; none crosses a cut, unless cuts are many."""
    edges = sorted({0, len(times), *(bisect_left(times, cut) for cut in cuts)})
    if len(times) <= points or len(edges) > points // 2:
        edges = [0, len(times)]
    size = max(1, math.ceil(len(times) / max(1, points - len(edges) + 2)))
    for first, last in pairwise(edges):
        for begin in range(first, last, size):
            yield slice(begin, min(begin + size, last))


def _union(masks: Iterable[float]) -> float:
    union = 0
    for mask in masks:
        union |= int(mask)
    return float(union)
