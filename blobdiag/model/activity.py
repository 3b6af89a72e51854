"""Idle stretches of a device, computed while samples arrive or from a saved series.

An idle stretch reaches from its first sample of 0 to its last. An unknown sample ends it, and so
does a hole: a longer time without a sample than the sampling interval explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from blobdiag.model.base import Stretch
from blobdiag.model.recorded import Activity

CPU = "cpu"
"""Name of the device in a run on the CPU: all processes of the run together."""

MAX_HOLE_S = 1.0
"""A longer time between two samples is a hole."""
HOLE_IN_SAMPLES = 3.0
"""In a series of merged samples, a time of more than this many sampling intervals is a hole."""

LEAST_IDLE_S = 0.2
"""Shorter idle stretches are dropped."""
MOST_STRETCHES = 100
"""Maximum number of idle stretches per device; the longest are stored."""

# All processes of a run together, in % of one core; an idle run takes up to 5 % for its display and
# communication.
CPU_IDLE_PERCENT = 20.0
# Readings of one tick are taken within milliseconds; ticks are 0.4 s apart.
SAME_TICK_S = 0.15

# NVML: "Each sample period may be between 1 second and 1/6 second, depending on the product"
# (nvmlUtilization_t). The driver does not report which.
LONGEST_AVERAGE_S = 1.0
LOOK_BACK_S = LONGEST_AVERAGE_S
"""NVML's utilisation in the first second of a phase includes the phase before."""
# A finer metric is used if it is known for at least this share of the time.
LEAST_COVERAGE = 0.9
FINER = ("utilization_samples", "sm_activity")
"""Metrics that average over exactly the time since the previous sample."""
COARSE = "utilization"

Sample = tuple[float, float | None]
"""(seconds, value); None: unknown."""
Span = tuple[float, float]


class Sampled(NamedTuple):
    """One metric over time."""

    times: list[float]
    values: list[float | None]
    stride: float = 1.0
    """Number of readings merged into each value."""

    @property
    def samples(self) -> Iterator[Sample]:
        """(seconds, value) in order of time."""
        return zip(self.times, self.values, strict=False)


def finest(metrics: Mapping[str, Sampled]) -> tuple[str, float] | None:
    """(name, seconds of the shortest visible gap) of a GPU's best metric; None: not sampled.

    A gap surely gives a sample of 0 if an averaging time lies inside it and a sample is taken
    before it ends: averaging time + sampling interval (the median, before thinning). `sm_activity`
    (GPM) and `utilization_samples` (the driver's buffer) average over one interval, `utilization`
    over 1/6 to 1 s; 1 s is assumed.
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
    """Busy, idle and unsampled stretches of a device, updated with every sample of one metric."""

    def __init__(self, least_idle: float = LEAST_IDLE_S, hole: float = MAX_HOLE_S) -> None:
        """Seconds: the shortest idle stretch to store, and the longest time that is no hole."""
        self.first_busy: float | None = None
        self.last_busy: float | None = None
        self._least, self._hole = least_idle, hole
        self._idle: list[Span] = []
        self._unseen: list[Span] = []
        self._open: Span | None = None
        self._last_known: float | None = None
        self._first_known: float | None = None

    def add(self, time: float, value: float | None) -> None:
        """Add a sample; samples must come in order of time."""
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
        """The idle stretches in order of time: the MOST_STRETCHES longest and an open one."""
        still = self._open
        return self._idle + ([still] if still and _seconds(still) >= self._least else [])

    def unseen(self, start: float, end: float) -> list[Span]:
        """The holes from `start` to `end`, also before the first and after the last sample."""
        if self._first_known is None or self._last_known is None:
            return [(start, end)] if end > start else []
        edges = [(start, self._first_known), (self._last_known, end)]
        return sorted([*self._unseen, *(edge for edge in edges if _seconds(edge) > self._hole)])

    def summary(self, device: str, metric: str, start: float, end: float) -> Activity:
        """The activity for the report; `start` and `end` of the run are on the samples' clock."""

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
    """Activity of a GPU from the metric that shows the shortest gaps; None if none was sampled.

    `merged`: whether neighbouring samples may have been merged, as in a saved series.
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
    """Activity of a run on the CPU; idle is at most CPU_IDLE_PERCENT of all processes together.

    A reading of a process's CPU use (% of a core) is a mean since the reading before, so a gap
    begins at the last busy reading. A process without a reading at a tick counts as idle if another
    process has one.
    """
    log = ActivityLog()
    for before, now, percent in _ticks(processes):
        idle = 0.0 if percent <= CPU_IDLE_PERCENT else percent
        log.add(before, idle)
        log.add(now, idle)
    return log.summary(CPU, "process/cpu", start, end)


def _hole(metric: Sampled) -> float:
    """Seconds without a sample that make a hole in a series of merged samples."""
    if len(metric.times) < 2:
        return MAX_HOLE_S
    spacing = median(later - earlier for earlier, later in pairwise(metric.times))
    return max(MAX_HOLE_S, HOLE_IN_SAMPLES * spacing)


def _ticks(processes: Iterable[Sampled]) -> Iterator[tuple[float, float, float]]:
    """(time of the previous tick, time, % of a core of all processes), without holes."""
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
