"""Figures computed from all samples, before the series are thinned for the report."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from blobdiag.model import names
from blobdiag.model.activity import (
    COARSE,
    FINER,
    LOOK_BACK_S,
    Sampled,
    cpu_activity,
    finest,
    gpu_activity,
)
from blobdiag.model.base import Stretch
from blobdiag.model.recorded import Activity
from blobdiag.sampling.long_trace import LongTrace
from blobdiag.sampling.trace import Trace


def gpu_metrics(trace: Trace, uuid: str) -> dict[str, Sampled]:
    """The metrics of a GPU that show idleness, by name."""
    found = {}
    for metric in (*FINER, COARSE):
        samples = trace.samples.get(names.gpu(uuid, metric))
        if samples is not None:
            found[metric] = Sampled(samples.times, samples.values, samples.stride)
    return found


def finest_metric(trace: Trace, uuid: str) -> tuple[str, float] | None:
    """(name, seconds of the shortest visible gap) of a GPU's best metric; None: not sampled."""
    return finest(gpu_metrics(trace, uuid))


def shortest_visible_gap(trace: Trace, uuids: Sequence[str]) -> float | None:
    """Seconds of the shortest gap that is surely seen on all these GPUs; None: not sampled."""
    gaps = [found[1] for uuid in uuids if (found := finest_metric(trace, uuid))]
    return max(gaps, default=None)


def activities(
    trace: Trace, uuids: Sequence[str], cpu_pids: Collection[int] | None, end: float
) -> list[Activity]:
    """Activity of each sampled GPU, and of the processes `cpu_pids` together unless it is None."""
    found = [_of_gpu(trace, uuid, end) for uuid in uuids]
    if cpu_pids is not None:
        processes = [trace.samples.get(names.process(pid, "cpu")) for pid in cpu_pids]
        known = [Sampled(one.times, one.values) for one in processes if one is not None]
        found.append(cpu_activity(known, trace.start, end))
    return [activity for activity in found if activity is not None]


def _of_gpu(trace: Trace, uuid: str, end: float) -> Activity | None:
    if not isinstance(trace, LongTrace):
        return gpu_activity(uuid, gpu_metrics(trace, uuid), trace.start, end)
    found = finest_metric(trace, uuid)
    log = trace.activity.get(names.gpu(uuid, found[0])) if found else None
    return log.summary(uuid, found[0], trace.start, end) if found and log else None


def cuts(trace: Trace, stretches: Sequence[Stretch]) -> list[float]:
    """Times (monotonic seconds) that no merged value may cross: bounds of stretches for means."""
    moments = {
        moment
        for one in stretches
        for moment in (one.start_s, one.start_s + LOOK_BACK_S, one.end_s)
    }
    return sorted(trace.start + moment for moment in moments)
