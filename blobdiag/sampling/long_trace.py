"""A trace of hours in a few megabytes: thinned while it grows, its idle stretches kept exactly."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from blobdiag.model import names
from blobdiag.model.activity import COARSE, FINER, ActivityLog
from blobdiag.model.recorded import MOST_POINTS, Series
from blobdiag.sampling.trace import Samples, Thinned, Trace, series

MOST_SERIES = 400
"""More are not begun: machines of many GPUs have about twenty each."""

MOST_POINTS_TOGETHER = 100_000
"""In a report, of all series: 3 MB of JSON."""

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


class LongTrace(Trace):
    """A trace that another thread may add to for hours.

    What it adds waits until `absorb` takes it in, so that whoever calls that may read the rest
    without a lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.activity: dict[str, ActivityLog] = {}
        """By the name of a metric in which a GPU's idleness shows."""
        self.not_begun = 0
        """Readings of series that were one too many."""
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
            parsed = names.parse(name)
            if parsed.gpu and parsed.pid is None and parsed.metric in (*FINER, COARSE):
                self.activity.setdefault(name, ActivityLog()).add(time, value)

    def forget_processes(self, now: float, kept: set[int]) -> None:
        """Drop the series of processes that ended, but for those in `kept`."""
        for name, samples in list(self.samples.items()):
            pid = names.parse(name).pid
            stale = not samples.times or now - samples.times[-1] > KEPT_SECONDS * samples.stride
            if pid is not None and pid not in kept and stale:
                del self.samples[name]

    def to_series(self, cuts: Sequence[float] = ()) -> list[Series]:
        """Every metric, with as many points as a report of many can bear, their digits cut."""
        points = min(MOST_POINTS, max(1, MOST_POINTS_TOGETHER // max(1, len(self.samples))))
        return [
            series(name, samples.unit, _rounded(samples.thinned(self.start, points, cuts)))
            for name, samples in sorted(self.samples.items())
        ]


def _rounded(thinned: Thinned) -> Thinned:
    return Thinned(
        [round(time, 3) for time in thinned.times],
        [None if value is None else float(f"{value:.7g}") for value in thinned.values],
        thinned.counts,
    )
