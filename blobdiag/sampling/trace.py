"""What a run left behind: time series of samples and the phases they fell into.

Times are seconds of `time.monotonic()`, which on Linux all processes of a machine share, so
the sampler's stamps and the workload's events can be laid side by side.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from time import monotonic

from blobdiag.model.report import MOST_POINTS, Phase, Series

BIT_MASK = "bit mask"


@dataclass
class Samples:
    """One metric over time: `times` in monotonic seconds, `values` in `unit`, None = not known."""

    unit: str
    times: list[float] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    stride: int = 1
    """How many readings each value stands for."""

    def append(self, time: float, value: float | None) -> None:
        # Value first: a reader in another thread never meets a time that has no value yet.
        self.values.append(value)
        self.times.append(time)

    def between(self, start: float, end: float) -> list[float]:
        """The known values stamped within [start, end]."""
        return [
            v
            for t, v in zip(self.times, self.values, strict=False)
            if v is not None and start <= t <= end
        ]

    def forget(self, start: float, end: float) -> None:
        """Drop what is stamped within [start, end)."""
        first, last = bisect_left(self.times, start), bisect_left(self.times, end)
        del self.times[first:last]
        del self.values[first:last]

    def thinned(self, start: float, points: int) -> tuple[list[float], list[float | None]]:
        """At most `points` times in seconds after `start`, and their values.

        Neighbours share a bucket of one size: its mean time and the mean of its known values
        (for a bit mask: every bit that was set), None only where all are None.
        """
        times = self.times[:]
        size = max(1, math.ceil(len(times) / points))
        buckets = [slice(first, first + size) for first in range(0, len(times), size)]
        return (
            [fmean(times[bucket]) - start for bucket in buckets],
            [self.merged(self.values[bucket]) for bucket in buckets],
        )

    def merged(self, values: Sequence[float | None]) -> float | None:
        """One value for several: the mean of the known ones, or every bit that was set."""
        known = [value for value in values if value is not None]
        merge = _union if self.unit == BIT_MASK else fmean
        return merge(known) if known else None


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
        """Drop the samples within [start, end) and the phases that lie in it."""
        for samples in list(self.samples.values()):
            samples.forget(start, end)
        self.spans = [s for s in self.spans if s.end is None or s.start < start or s.end > end]

    def between(self, name: str, start: float, end: float) -> list[float]:
        """Known values of one metric within [start, end]; empty when it was never sampled."""
        samples = self.samples.get(name)
        return [] if samples is None else samples.between(start, end)

    @contextmanager
    def phase(self, name: str, device: str | None = None) -> Iterator[Span]:
        """Record the enclosed code as a phase, also when it is left by an exception."""
        span = Span(name, monotonic(), device=device)
        self.spans.append(span)
        try:
            yield span
        finally:
            span.end = monotonic()

    def to_series(self) -> list[Series]:
        """Every metric for the report, on the run's clock, thinned to at most MOST_POINTS."""
        return [
            Series(name=name, unit=samples.unit, times_s=times, values=values)
            for name, samples in sorted(self.samples.items())
            for times, values in [samples.thinned(self.start, MOST_POINTS)]
        ]

    def to_phases(self) -> list[Phase]:
        """The phases for the report, on the run's clock; one that still runs ends now."""
        return [
            Phase(
                name=span.name,
                start_s=span.start - self.start,
                end_s=(monotonic() if span.end is None else span.end) - self.start,
                device=span.device,
            )
            for span in self.spans
        ]


def _union(masks: Iterable[float]) -> float:
    union = 0
    for mask in masks:
        union |= int(mask)
    return float(union)
