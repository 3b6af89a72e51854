"""Phases of a program that is not ours: as it marked them, else as its GPUs were busy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from blobdiag.model import names
from blobdiag.model.activity import ActivityLog
from blobdiag.sampling.long_trace import LongTrace
from blobdiag.sampling.reduction import finest_metric
from blobdiag.sampling.trace import Span
from blobdiag.targets.program.records import PhaseMark

MOST_PHASES = 200

Stretch = tuple[float, float]
"""[start, end] in monotonic seconds."""

# Shorter pauses are within a phase, not between two.
LEAST_IDLE_S = 1.0

BUSY, IDLE = "GPU busy", "GPU idle"


class Phases(NamedTuple):
    """The phases of a program, in order of their start."""

    spans: list[Span]
    source: str | None
    """'markers', 'GPU activity', or None: none were found."""
    left_out: int = 0
    """The shortest of very many."""


def find_phases(
    marks: Sequence[PhaseMark], trace: LongTrace, gpu_uuids: Sequence[str], now: float
) -> Phases:
    """From markers where there are any, else from the GPUs' activity; `now` ends what is open."""
    source: str | None = "markers"
    spans = marked(marks, now)
    if not spans:
        spans = by_activity(_activities(trace, gpu_uuids), trace.start, now)
        source = "GPU activity" if spans else None
    kept = sorted(spans, key=lambda s: s.start - (s.end or now))[:MOST_PHASES]
    return Phases(sorted(kept, key=lambda s: s.start), source, len(spans) - len(kept))


def marked(marks: Sequence[PhaseMark], now: float) -> list[Span]:
    """What processes marked; those of one name that overlap, in whatever process, are one phase."""
    spans = []
    for name in dict.fromkeys(mark.name for mark in marks):
        stretches = ((m.start, now if m.end is None else m.end) for m in marks if m.name == name)
        spans += [Span(name, start, end) for start, end in _united(stretches)]
    return spans


def by_activity(activities: Sequence[ActivityLog], start: float, end: float) -> list[Span]:
    """Idle where all GPUs are for LEAST_IDLE_S or longer, busy between; none if none ever was."""
    used = [a for a in activities if a.first_busy is not None]
    if not used:
        return []
    idle = [(start, min(a.first_busy for a in used if a.first_busy is not None))]
    idle += _common([activity.idle() for activity in used])
    spans: list[Span] = []
    before = start
    for first, last in _united((max(s, start), min(e, end)) for s, e in idle if e > start):
        if last - first >= LEAST_IDLE_S:
            spans += [Span(BUSY, before, first)] if first > before else []
            spans.append(Span(IDLE, first, last))
            before = last
    if spans and all(a.last_busy is None or a.last_busy <= before for a in used):
        spans[-1].end = end
    elif end > before:
        spans.append(Span(BUSY, before, end))
    return spans


def _activities(trace: LongTrace, gpu_uuids: Sequence[str]) -> list[ActivityLog]:
    """Of each GPU the metric that shows the shortest gaps."""
    finest = ((uuid, finest_metric(trace, uuid)) for uuid in gpu_uuids)
    return [trace.activity[names.gpu(uuid, metric[0])] for uuid, metric in finest if metric]


def _united(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time in stretches that neither overlap nor touch, in order."""
    united: list[Stretch] = []
    for start, end in sorted(stretches):
        if united and start <= united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((start, end))
    return united


def _common(lists: Sequence[Sequence[Stretch]]) -> list[Stretch]:
    """The time that lies in a stretch of every list."""
    common = list(lists[0])
    for other in lists[1:]:
        common = [
            (max(a, c), min(b, d)) for a, b in common for c, d in other if max(a, c) < min(b, d)
        ]
    return common
