"""The counters that a program advances by `progress(games=1)`: rates of the run and its phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite

from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.sampling.trace import Samples, Trace


def add_progress(trace: Trace, totals: Mapping[str, float], before: float, now: float) -> None:
    """Add each counter's total, as it is `now`, to the trace; a new one was 0 at `before`."""
    for counter, total in totals.items():
        name = names.progress(counter)
        if name not in trace.samples:
            trace.add(name, names.unit(name), before, 0.0)
        trace.add(name, names.unit(name), now, total)


def rates(trace: Trace, start: float, end: float) -> list[Metric]:
    """Each counter's increase a minute from `start` to `end`, in monotonic seconds.

    Between two readings of a total it is taken to grow evenly.
    """
    return [
        _rate(counter, samples, start, end)
        for name, samples in sorted(trace.samples.items())
        if (counter := names.progress_counter(name)) is not None
    ]


def _rate(counter: str, samples: Samples, start: float, end: float) -> Metric:
    points = [
        (time, value)
        for time, value in zip(samples.times, samples.values, strict=True)
        if value is not None
    ]
    steps = [b[0] - a[0] for a, b in pairwise(points) if b[0] > start and a[0] < end]
    long_enough = end - start >= max(steps, default=0.0) and end > start
    value = 60 * (_at(points, end) - _at(points, start)) / (end - start) if long_enough else None
    reason = None if long_enough else f"shorter than {max(steps):.1f} s between readings"
    if value is not None and not isfinite(value):
        value, reason = None, "it was advanced by more than a number holds"
    return Metric(
        name=f"{counter} per minute",
        value=value,
        unit=f"{counter}/min",
        samples=sum(start <= time <= end for time, _ in points),
        reason=reason,
    )


def _at(points: Sequence[tuple[float, float]], moment: float) -> float:
    """The total at a moment, on straight lines between the readings."""
    before = [point for point in points if point[0] <= moment]
    after = [point for point in points if point[0] >= moment]
    if not before or not after:
        return before[-1][1] if before else 0.0
    (t0, v0), (t1, v1) = before[-1], after[0]
    return v0 if t1 == t0 else v0 + (v1 - v0) * (moment - t0) / (t1 - t0)
