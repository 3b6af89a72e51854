"""Where a device that should have worked did not: a GPU, or the cores where self-play is theirs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from blobdiag.diagnosis.timeline import end_of, utilization
from blobdiag.model.report import IdleGap
from blobdiag.sampling.nvidia.resolution import finest_metric
from blobdiag.sampling.trace import Samples, Span, Trace

# Between two samples further apart than this nothing is known: a gap does not reach across.
MAX_SAMPLE_HOLE_S = 1.0

CPU = "cpu"
Stretch = tuple[float, float]
"""[start, end] in monotonic seconds."""

# All processes of a run together, in % of one core: listening and drawing while nothing is played
# takes up to 5.
CPU_IDLE_PERCENT = 20.0
# Readings of one tick are taken within milliseconds; ticks of the host are 0.4 s apart.
SAME_TICK_S = 0.15


def idle_gaps(
    trace: Trace, gpu_uuids: Sequence[str], spans: Sequence[Span], threshold: float
) -> list[IdleGap]:
    """Stretches of 0 % longer than `threshold` seconds, in the metric that shows the shortest.

    In order of their start. They are looked for from the first span's start to the last one's
    end: `spans` are the phases in which the GPU should work. A gap reaches from its first sample
    of 0 % to its last, so it is at least as long as said; a sample that is not known ends it. Times
    are on the run's own clock.
    """
    if not spans:
        return []
    start, end = bounds(trace, spans)
    return sorted(
        (
            IdleGap(
                device=uuid,
                start_s=first - trace.start,
                end_s=last - trace.start,
                phase=phase_at(trace, first, last),
            )
            for uuid in gpu_uuids
            for first, last in _idle_stretches(trace, uuid, start, end)
            if last - first > threshold
        ),
        key=lambda gap: gap.start_s,
    )


def cpu_idle_gaps(
    trace: Trace, pids: Collection[int], spans: Sequence[Span], threshold: float
) -> list[IdleGap]:
    """The same for a run whose device is the CPU: its processes together do next to nothing.

    A reading of a process's CPU time speaks of all the time since the one before, so a gap begins
    with the last reading of work. Processes that are not known at a tick count as idle there only
    if another is known.
    """
    busy = Samples("%")
    for before, now, percent in _ticks(trace, pids):
        idle = 0.0 if percent <= CPU_IDLE_PERCENT else percent
        busy.append(before, idle)
        busy.append(now, idle)
    activity = Trace(start=trace.start, samples={utilization(CPU): busy}, spans=trace.spans)
    return idle_gaps(activity, [CPU], spans, threshold)


def _ticks(trace: Trace, pids: Collection[int]) -> Iterator[tuple[float, float, float]]:
    """(time of the reading before, time, % of a core of all processes), where both are known."""
    readings = sorted(
        (time, value)
        for pid in pids
        if (samples := trace.samples.get(f"process/{pid}/cpu")) is not None
        for time, value in zip(samples.times, samples.values, strict=False)
        if value is not None
    )
    ticks: list[tuple[float, float]] = []
    for time, value in readings:
        if ticks and time < ticks[-1][0] + SAME_TICK_S:
            ticks[-1] = (ticks[-1][0], ticks[-1][1] + value)
        else:
            ticks.append((time, value))
    for (before, _), (now, percent) in pairwise(ticks):
        if now - before <= MAX_SAMPLE_HOLE_S:
            yield before, now, percent


def bounds(trace: Trace, spans: Sequence[Span]) -> tuple[float, float]:
    """First start and last end of one or more spans, on the trace's clock."""
    return min(s.start for s in spans), max(end_of(s, trace) for s in spans)


def longest_hole(trace: Trace, gpu_uuids: Sequence[str], spans: Sequence[Span]) -> float:
    """Longest time, in seconds, within the spans in which a GPU's utilisation was not known."""
    start, end = bounds(trace, spans)
    holes = [0.0]
    for uuid in gpu_uuids:
        known = [t for t, v in _samples(trace, uuid, start, end) if v is not None]
        holes += [b - a for a, b in pairwise([start, *known, end])]
    return max(holes)


def _samples(
    trace: Trace, uuid: str, start: float, end: float
) -> Iterator[tuple[float, float | None]]:
    finest = finest_metric(trace, uuid)
    name = f"gpu/{uuid}/{finest[0]}" if finest else utilization(uuid)
    samples = trace.samples.get(name)
    if samples is None:
        return
    for time, value in zip(samples.times, samples.values, strict=False):
        if start <= time <= end:
            yield time, value


class IdleStretches:
    """Stretches of 0 in one metric, told sample by sample in order of time.

    One reaches from its first sample of 0 to its last; a sample that is not known ends it, and so
    does a hole longer than MAX_SAMPLE_HOLE_S.
    """

    def __init__(self) -> None:
        self.open: Stretch | None = None
        """(first, last) of the one that the newest sample belongs to."""

    def add(self, time: float, value: float | None) -> Stretch | None:
        """Take a sample; the stretch that it ended, if any."""
        if self.open and value == 0 and time - self.open[1] <= MAX_SAMPLE_HOLE_S:
            self.open = self.open[0], time
            return None
        ended, self.open = self.open, (time, time) if value == 0 else None
        return ended


def _idle_stretches(trace: Trace, uuid: str, start: float, end: float) -> Iterator[Stretch]:
    stretches = IdleStretches()
    for time, value in _samples(trace, uuid, start, end):
        if ended := stretches.add(time, value):
            yield ended
    if stretches.open:
        yield stretches.open


def phase_at(trace: Trace, start: float, end: float) -> str | None:
    """The phase both ends lie in, else 'before → after'; of nested phases the innermost."""
    began = [s for s in trace.spans if s.start <= start]
    ends_later = [s for s in trace.spans if end_of(s, trace) >= end]
    before = max(began, key=lambda s: (s.start, -end_of(s, trace)), default=None)
    after = min(ends_later, key=lambda s: (end_of(s, trace), -s.start), default=None)
    if before is after:
        return before.name if before else None
    return " → ".join(span.name if span else "no phase" for span in (before, after))
