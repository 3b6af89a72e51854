"""Idle gaps of the run's device, a GPU or the CPU, in phases in which it should work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blobdiag.diagnosis.facts import (
    Window,
    after_look_back,
    expectations,
    pids,
    spans,
)
from blobdiag.model import names
from blobdiag.model.activity import (
    COARSE,
    CPU,
    FINER,
    Sampled,
    cpu_activity,
    gpu_activity,
)
from blobdiag.model.device import Device
from blobdiag.model.judgement import IdleGap
from blobdiag.model.names import SELF_PLAY, TRAINING
from blobdiag.model.recorded import Activity
from blobdiag.model.report import Report


def idle_gaps(report: Report, gpu_uuids: Sequence[str]) -> list[IdleGap]:
    """Stretches in which the run's device had work and was idle, in order of their start.

    The arms of a comparison take turns: an arm is judged in its own phases only, and without their
    first second, in which NVML still averages over the turn before.
    """
    device, threshold = Device.of(report.device), expectations(report)["idle-gap"].high
    within = spans(report, SELF_PLAY, TRAINING)
    if threshold is None or not within:
        return []
    if device.on_cpu:
        return _gaps(report, [_cpu(report)], [within], threshold)
    if not device.on_cuda:
        return []
    if len(report.throughput) <= 1:
        return gpu_gaps(report, gpu_uuids, within, threshold)
    turns = after_look_back(spans(report, SELF_PLAY, TRAINING, device=report.device))
    return _gaps(report, _of_gpus(report, gpu_uuids), [[turn] for turn in turns], threshold)


def gpu_gaps(
    report: Report, gpu_uuids: Sequence[str], within: Sequence[Window], threshold: float
) -> list[IdleGap]:
    """Stretches of 0 % longer than `threshold` seconds, in order of their start.

    The search covers everything from the first window's start to the last window's end.
    """
    return _gaps(report, _of_gpus(report, gpu_uuids), [within] if within else [], threshold)


def activity(report: Report, device: str) -> Activity | None:
    """The activity of a GPU (its UUID): recorded, else from the saved series; None: not sampled."""
    recorded = next((one for one in report.activity if one.device == device), None)
    if recorded is not None:
        return recorded
    metrics = {
        metric: sampled
        for metric in (*FINER, COARSE)
        if (sampled := _sampled(report, names.gpu(device, metric))) is not None
    }
    return gpu_activity(device, metrics, 0.0, report.seconds, merged=True)


def _cpu(report: Report) -> Activity:
    recorded = next((one for one in report.activity if one.device == CPU), None)
    if recorded is not None:
        return recorded
    processes = [_sampled(report, names.process(pid, "cpu")) for pid in pids(report)]
    known = [one for one in processes if one is not None]
    return cpu_activity(known, 0.0, report.seconds)


def _of_gpus(report: Report, gpu_uuids: Sequence[str]) -> list[Activity]:
    found = [activity(report, uuid) for uuid in gpu_uuids]
    return [one for one in found if one is not None]


def _sampled(report: Report, name: str) -> Sampled | None:
    one = next((series for series in report.series if series.name == name), None)
    return None if one is None else Sampled(one.times_s, one.values)


def _gaps(
    report: Report,
    activities: Sequence[Activity],
    turns: Sequence[Sequence[Window]],
    threshold: float,
) -> list[IdleGap]:
    """The parts of idle stretches within each turn that last longer than `threshold` seconds."""
    gaps = [
        IdleGap(device=one.device, start_s=start, end_s=end, phase=phase_at(report, start, end))
        for turn in turns
        for one in activities
        for start, end in _clipped(one, *bounds(turn))
        if end - start > threshold
    ]
    return sorted(gaps, key=lambda gap: gap.start_s)


def _clipped(one: Activity, start: float, end: float) -> Iterator[Window]:
    for stretch in one.idle:
        first, last = max(stretch.start_s, start), min(stretch.end_s, end)
        if first < last:
            yield first, last


def bounds(within: Sequence[Window]) -> Window:
    """First start and last end of one or more windows."""
    return min(start for start, _ in within), max(end for _, end in within)


def longest_hole(report: Report, gpu_uuids: Sequence[str], within: Sequence[Window]) -> float:
    """Longest time in seconds, within the windows, in which a GPU was not sampled.

    Holes within the normal sampling interval count as 0.
    """
    start, end = bounds(within)
    holes = [0.0]
    for uuid in gpu_uuids:
        one = activity(report, uuid)
        if one is None:
            return end - start
        holes += [min(s.end_s, end) - max(s.start_s, start) for s in one.unseen]
    return max(holes)


def phase_at(report: Report, start: float, end: float) -> str | None:
    """The innermost phase that contains both ends, else 'before → after'."""
    began = [p for p in report.phases if p.start_s <= start]
    ends_later = [p for p in report.phases if p.end_s >= end]
    before = max(began, key=lambda p: (p.start_s, -p.end_s), default=None)
    after = min(ends_later, key=lambda p: (p.end_s, -p.start_s), default=None)
    if before is after:
        return before.name if before else None
    return " → ".join(phase.name if phase else "no phase" for phase in (before, after))
