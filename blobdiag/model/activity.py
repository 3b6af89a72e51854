"""When a device was idle: the same reduction while samples arrive and when they are read back.

A stretch of idleness reaches from its first sample of 0 to its last. A sample that is not known
ends it, and so does a hole: a longer time without a sample than the sampling explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from blobdiag.model.base import Stretch
from blobdiag.model.recorded import Activity

CPU = "cpu"
"""The device of a run whose network is on the CPU: its processes together."""

MAX_HOLE_S = 1.0
"""Between two samples further apart than this nothing is known."""
HOLE_IN_SAMPLES = 3.0
"""Samples that were merged lie further apart: a hole is what is longer than so many of them."""

LEAST_IDLE_S = 0.2
"""Shorter idle stretches are not kept."""
MOST_STRETCHES = 100
"""Of a device that is idle at times, the longest."""

# All processes of a run together, in % of one core: listening and drawing while nothing is played
# takes up to 5.
CPU_IDLE_PERCENT = 20.0
# Readings of one tick are taken within milliseconds; ticks of the host are 0.4 s apart.
SAME_TICK_S = 0.15

# NVML: "Each sample period may be between 1 second and 1/6 second, depending on the product"
# (nvmlUtilization_t). Which one, the driver does not say.
LONGEST_AVERAGE_S = 1.0
LOOK_BACK_S = LONGEST_AVERAGE_S
"""The first second of a phase still shows the phase before."""
# A finer metric counts where it was known for at least this part of the time.
LEAST_COVERAGE = 0.9
FINER = ("utilization_samples", "sm_activity")
"""Averages over exactly the time since the sample before."""
COARSE = "utilization"

Sample = tuple[float, float | None]
"""(seconds, value); None: not known."""
Span = tuple[float, float]


class Sampled(NamedTuple):
    """One metric over time."""

    times: list[float]
    values: list[float | None]
    stride: float = 1.0
    """Readings that each value stands for."""

    @property
    def samples(self) -> Iterator[Sample]:
        """In order of time."""
        return zip(self.times, self.values, strict=False)


def finest(metrics: Mapping[str, Sampled]) -> tuple[str, float] | None:
    """The metric of a GPU that shows the shortest gaps, and their seconds; None: not sampled.

    A sample of 0 is certain where the average behind it lies wholly inside the gap, and it is taken
    while the gap lasts: averaging time + sampling interval (the median, before any thinning).
    `sm_activity` (GPM) and `utilization_samples` (the driver's buffer) are averages over one
    interval; `utilization` one over 1/6 to 1 s, of which the longest is taken.
    """
    gaps: dict[str, float] = {}
    for name in (*FINER, COARSE):
        metric = metrics.get(name)
        known = [t for t, v in metric.samples if v is not None] if metric else []
        if metric is None or len(known) < 2:
            continue
        spacing = median(later - earlier for earlier, later in pairwise(known))
        covered = sum(min(later - earlier, 2 * spacing) for earlier, later in pairwise(known))
        if name == COARSE:
            gaps[name] = spacing / metric.stride + LONGEST_AVERAGE_S
        elif covered >= LEAST_COVERAGE * (metric.times[-1] - metric.times[0]):
            gaps[name] = 2 * spacing / metric.stride
    return min(gaps.items(), key=lambda gap: gap[1], default=None)


class ActivityLog:
    """When a device was busy, idle and unseen, by every sample of one metric."""

    def __init__(self, least_idle: float = LEAST_IDLE_S, hole: float = MAX_HOLE_S) -> None:
        """Seconds: shorter idle stretches are dropped; a longer time without a sample is a hole."""
        self.first_busy: float | None = None
        self.last_busy: float | None = None
        self._least, self._hole = least_idle, hole
        self._idle: list[Span] = []
        self._unseen: list[Span] = []
        self._open: Span | None = None
        self._last_known: float | None = None
        self._first_known: float | None = None

    def add(self, time: float, value: float | None) -> None:
        """Take a sample; they come in order of time."""
        if value is not None:
            self._see(time)
        if value:
            self.first_busy = time if self.first_busy is None else self.first_busy
            self.last_busy = time
        if self._open and value == 0 and time - self._open[1] <= self._hole:
            self._open = self._open[0], time
            return
        ended, self._open = self._open, (time, time) if value == 0 else None
        if ended is not None:
            _keep_longest(self._idle, ended, self._least)

    def _see(self, time: float) -> None:
        if self._last_known is not None and time - self._last_known > self._hole:
            _keep_longest(self._unseen, (self._last_known, time), self._hole)
        self._first_known = time if self._first_known is None else self._first_known
        self._last_known = time

    def idle(self) -> list[Span]:
        """The idle stretches, in order of time; of very many the longest."""
        still = self._open
        return self._idle + ([still] if still and _seconds(still) >= self._least else [])

    def unseen(self, start: float, end: float) -> list[Span]:
        """The holes between two moments, those before the first and after the last sample too."""
        if self._first_known is None or self._last_known is None:
            return [(start, end)] if end > start else []
        edges = [(start, self._first_known), (self._last_known, end)]
        return sorted([*self._unseen, *(edge for edge in edges if _seconds(edge) > self._hole)])

    def summary(self, device: str, metric: str, start: float, end: float) -> Activity:
        """For the report; `start` and `end` of the run are on the samples' clock."""

        def stretches(spans: Iterable[Span]) -> list[Stretch]:
            return [Stretch(start_s=first - start, end_s=last - start) for first, last in spans]

        return Activity(
            device=device,
            metric=metric,
            first_busy_s=None if self.first_busy is None else self.first_busy - start,
            last_busy_s=None if self.last_busy is None else self.last_busy - start,
            idle=stretches(self.idle()),
            unseen=stretches(self.unseen(start, end)),
        )


def gpu_activity(
    uuid: str, metrics: Mapping[str, Sampled], start: float, end: float, *, merged: bool = False
) -> Activity | None:
    """Of a GPU, by the metric that shows the shortest gaps; None where none was sampled.

    `merged` says that neighbouring samples may have been merged, as in a saved series.
    """
    name = finest(metrics)
    metric = metrics.get(name[0] if name else COARSE)
    if metric is None:
        return None
    log = ActivityLog(hole=_hole(metric) if merged else MAX_HOLE_S)
    for time, value in metric.samples:
        log.add(time, value)
    return log.summary(uuid, name[0] if name else COARSE, start, end)


def cpu_activity(processes: Iterable[Sampled], start: float, end: float) -> Activity:
    """Of a run on the CPU: idle where its processes together do next to nothing.

    A reading of a process's CPU time (% of a core) speaks of all the time since the one before, so
    a gap begins with the last reading of work. A process that is not known at a tick counts as idle
    there only if another is known.
    """
    log = ActivityLog()
    for before, now, percent in _ticks(processes):
        idle = 0.0 if percent <= CPU_IDLE_PERCENT else percent
        log.add(before, idle)
        log.add(now, idle)
    return log.summary(CPU, "process/cpu", start, end)


def _hole(metric: Sampled) -> float:
    """Seconds without a sample from which on nothing is known."""
    if len(metric.times) < 2:
        return MAX_HOLE_S
    spacing = median(later - earlier for earlier, later in pairwise(metric.times))
    return max(MAX_HOLE_S, HOLE_IN_SAMPLES * spacing)


def _ticks(processes: Iterable[Sampled]) -> Iterator[tuple[float, float, float]]:
    """(time of the reading before, time, % of a core of all processes), where both are known."""
    readings = sorted(
        (time, value) for one in processes for time, value in one.samples if value is not None
    )
    ticks: list[tuple[float, float]] = []
    for time, value in readings:
        if ticks and time < ticks[-1][0] + SAME_TICK_S:
            ticks[-1] = (ticks[-1][0], ticks[-1][1] + value)
        else:
            ticks.append((time, value))
    for (before, _), (now, percent) in pairwise(ticks):
        if now - before <= MAX_HOLE_S:
            yield before, now, percent


def _keep_longest(spans: list[Span], new: Span, least: float) -> None:
    if _seconds(new) < least:
        return
    spans.append(new)
    if len(spans) > MOST_STRETCHES:
        spans.remove(min(spans, key=_seconds))


def _seconds(span: Span) -> float:
    return span[1] - span[0]
