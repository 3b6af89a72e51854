"""What a run left behind: time series of samples and the phases they fell into.

Times are seconds of `time.monotonic()`, which on Linux all processes of a machine share, so
the sampler's stamps and the workload's events can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic


@dataclass
class Samples:
    """One metric over time: `times` in monotonic seconds, `values` in `unit`, None = not known."""

    unit: str
    times: list[float] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)

    def append(self, time: float, value: float | None) -> None:
        self.times.append(time)
        self.values.append(value)

    def between(self, start: float, end: float) -> list[float]:
        """The known values stamped within [start, end]."""
        return [
            v
            for t, v in zip(self.times, self.values, strict=True)
            if v is not None and start <= t <= end
        ]


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
