"""A trace of hours in a few megabytes: thinned while it grows, its idle stretches kept exactly."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

from blobdiag.diagnosis.idle import IdleStretches, Stretch
from blobdiag.model.report import MOST_POINTS, Series
from blobdiag.sampling.nvidia.resolution import COARSE, FINER
from blobdiag.sampling.trace import Samples, Trace

MOST_SERIES = 400
"""More are not begun: machines of many GPUs have about twenty each."""

MOST_POINTS_TOGETHER = 100_000
"""In a report, of all series: 3 MB of JSON."""

MOST_STRETCHES = 100
"""Of a GPU that is idle at times, the longest."""

# A process's series outlives its last sample by so long, unless it is asked to be kept.
KEPT_SECONDS = 30.0


@dataclass
class ThinnedSamples(Samples):
    """Samples of which neighbours are merged whenever there are MOST_POINTS of them.

    Each value stands for the same number of readings at all times, so that means stay right.
    """

    _pending: list[tuple[float, float | None]] = field(default_factory=list)

    def append(self, time: float, value: float | None) -> None:
        self._pending.append((time, value))
        if len(self._pending) < self.stride:
            return
        times, values = zip(*self._pending, strict=True)
        self._pending.clear()
        super().append(fmean(times), self.merged(values))
        if len(self.times) >= MOST_POINTS:
            self._halve()

    def _halve(self) -> None:
        self.times, self.values = (
            [fmean(pair) for pair in zip(self.times[::2], self.times[1::2], strict=True)],
            [self.merged(pair) for pair in zip(self.values[::2], self.values[1::2], strict=True)],
        )
        self.stride *= 2


class Activity:
    """When a GPU was busy and when idle, by every sample of one metric."""

    def __init__(self, least_seconds: float) -> None:
        """Shorter idle stretches are forgotten."""
        self.first_busy: float | None = None
        self.last_busy: float | None = None
        self._least = least_seconds
        self._idle: list[Stretch] = []
        self._stretches = IdleStretches()

    def add(self, time: float, value: float | None) -> None:
        """Take a sample; they come in order of time."""
        if value:
            self.first_busy = time if self.first_busy is None else self.first_busy
            self.last_busy = time
        ended = self._stretches.add(time, value)
        if ended is None or _seconds(ended) < self._least:
            return
        self._idle.append(ended)
        if len(self._idle) > MOST_STRETCHES:
            self._idle.remove(min(self._idle, key=_seconds))

    def idle(self) -> list[Stretch]:
        """The idle stretches, in order of time; of very many the longest."""
        still = self._stretches.open
        return self._idle + ([still] if still and _seconds(still) >= self._least else [])


class LongTrace(Trace):
    """A trace that another thread may add to for hours.

    What it adds waits until `absorb` takes it in, so that whoever calls that may read the rest
    without a lock.
    """

    def __init__(self, least_idle_seconds: float) -> None:
        super().__init__()
        self.activity: dict[str, Activity] = {}
        """By the name of a metric in which a GPU's idleness shows."""
        self.not_begun = 0
        """Readings of series that were one too many."""
        self._least = least_idle_seconds
        self._arrived: deque[tuple[str, str, float, float | None]] = deque()

    def add(self, name: str, unit: str, time: float, value: float | None) -> None:
        self._arrived.append((name, unit, time, value))

    def absorb(self) -> None:
        """Take in what was added since the last call."""
        while self._arrived:
            name, unit, time, value = self._arrived.popleft()
            if name not in self.samples and len(self.samples) >= MOST_SERIES:
                self.not_begun += 1
                continue
            self.samples.setdefault(name, ThinnedSamples(unit)).append(time, value)
            if name.startswith("gpu/") and name.rpartition("/")[2] in (*FINER, COARSE):
                self.activity.setdefault(name, Activity(self._least)).add(time, value)

    def forget_processes(self, now: float, kept: set[int]) -> None:
        """Drop the series of processes that ended, but for those in `kept`."""
        for name, samples in list(self.samples.items()):
            pid = _pid_of(name)
            stale = not samples.times or now - samples.times[-1] > KEPT_SECONDS * samples.stride
            if pid is not None and pid not in kept and stale:
                del self.samples[name]

    def to_series(self) -> list[Series]:
        """Every metric, with as many points as a report of many can bear, their digits cut."""
        points = min(MOST_POINTS, max(1, MOST_POINTS_TOGETHER // max(1, len(self.samples))))
        return [
            Series(
                name=name,
                unit=samples.unit,
                times_s=[round(time, 3) for time in times],
                values=[None if value is None else float(f"{value:.7g}") for value in values],
            )
            for name, samples in sorted(self.samples.items())
            for times, values in [samples.thinned(self.start, points)]
        ]


def _pid_of(name: str) -> int | None:
    """Of `process/<pid>/…` and `gpu/<uuid>/process/<pid>/…`."""
    _, found, rest = f"/{name}".partition("/process/")
    pid = rest.partition("/")[0]
    return int(pid) if found and pid.isdecimal() else None


def _seconds(stretch: Stretch) -> float:
    return stretch[1] - stretch[0]
