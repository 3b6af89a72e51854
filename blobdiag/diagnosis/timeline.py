"""Between a trace and its report: phases with their means, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.model.report import Metric, Phase, Report
from blobdiag.sampling.trace import Samples, Span, Trace

HOST_CPU = "host/cpu"

# A reading of NVML speaks of up to the last second (design, §4), so the first second of a phase
# still shows the one before.
LOOK_BACK_S = 1.0
NO_SAMPLE = "no sample fell into the phase"


def utilization(uuid: str) -> str:
    """Name of the metric that holds a GPU's utilisation, in %."""
    return f"gpu/{uuid}/utilization"


def end_of(span: Span, trace: Trace) -> float:
    """When a span ended; one still open has lasted until the last sample."""
    if span.end is not None:
        return span.end
    return max((s.times[-1] for s in trace.samples.values() if s.times), default=span.start)


def phases(trace: Trace, gpu_uuids: Sequence[str]) -> list[Phase]:
    """The trace's phases for the report, each with mean GPU and CPU utilisation, in %."""
    return [
        phase.model_copy(update={"metrics": _means(phase, trace, gpu_uuids)})
        for phase in trace.to_phases()
    ]


def trace_of(report: Report) -> Trace:
    """The trace a saved report can be judged again by; its clock starts at 0."""
    return Trace(
        start=0.0,
        samples={s.name: Samples(s.unit, s.times_s, s.values) for s in report.series},
        unsupported=dict(report.unsupported),
        spans=[Span(p.name, p.start_s, p.end_s, p.device) for p in report.phases],
    )


def _means(phase: Phase, trace: Trace, gpu_uuids: Sequence[str]) -> list[Metric]:
    start, end = trace.start + phase.start_s, trace.start + phase.end_s
    metrics = [mean("CPU", [HOST_CPU], trace, start, end)]
    if gpu_uuids:
        names = [utilization(uuid) for uuid in gpu_uuids]
        metrics.insert(0, mean("GPU", names, trace, start + LOOK_BACK_S, end))
    return metrics


def mean(
    label: str,
    names: Sequence[str],
    trace: Trace,
    start: float,
    end: float,
    otherwise: str | None = None,
) -> Metric:
    """Mean in % over all named metrics within [start, end], in monotonic seconds.

    None when none was known, with the driver's reason, or `otherwise`, or ours.
    """
    known = [value for name in names for value in trace.between(name, start, end)]
    reasons = [trace.unsupported[name] for name in names if name in trace.unsupported]
    return Metric(
        name=label,
        value=sum(known) / len(known) if known else None,
        unit="%",
        samples=len(known),
        reason=None if known else next(iter(reasons), otherwise or NO_SAMPLE),
    )
