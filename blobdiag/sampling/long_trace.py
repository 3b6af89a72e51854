"""A trace of bounded size for runs of hours: thinned as it grows, with exact idle stretches."""

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
"""Maximum number of series; a GPU has about twenty."""

MOST_POINTS_TOGETHER = 100_000
"""Maximum number of points of all series in a report, about 3 MB of JSON."""

# Seconds (× stride) after its last sample for which an ended process's series is stored.
STALE_SECONDS = 30.0


@dataclass
class ThinnedSamples(Samples):
    """Samples that are merged in pairs whenever their number reaches MOST_POINTS.

    All values are merged from the same number of readings, so that means stay exact.
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
    """A trace of bounded size that another thread may add to.

    Samples are queued until `absorb` is called, so that the calling thread can read the trace
    without a lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.activity: dict[str, ActivityLog] = {}
        """By series name, for the metrics that show a GPU's idleness."""
        self.not_begun = 0
        """Number of readings dropped because there were MOST_SERIES series."""
        self._arrived: deque[tuple[str, str, float, float | None]] = deque()

    def add(self, name: str, unit: str, time: float, value: float | None) -> None:
        self._arrived.append((name, unit, time, value))

    def absorb(self) -> None:
        """Process the samples added since the last call."""
        while self._arrived:
            name, unit, time, value = self._arrived.popleft()
            if name not in self.samples and len(self.samples) >= MOST_SERIES:
                self.not_begun += 1
                continue
            self.samples.setdefault(name, ThinnedSamples(unit)).append(time, value)
            parsed = names.parse(name)
            if parsed.gpu and parsed.pid is None and parsed.metric in (*FINER, COARSE):
                self.activity.setdefault(name, ActivityLog()).add(time, value)

    def forget_processes(self, now: float, followed: set[int]) -> None:
        """Drop the stale series of processes whose PIDs are not in `followed`."""
        for name, samples in list(self.samples.items()):
            pid = names.parse(name).pid
            stale = not samples.times or now - samples.times[-1] > STALE_SECONDS * samples.stride
            if pid is not None and pid not in followed and stale:
                del self.samples[name]

    def to_series(self, cuts: Sequence[float] = ()) -> list[Series]:
        """All metrics for the report, rounded, with at most MOST_POINTS_TOGETHER points."""
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
