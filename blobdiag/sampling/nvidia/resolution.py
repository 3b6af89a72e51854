"""How short an idle gap of a GPU could have been seen, and in which metric."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from blobdiag.sampling.trace import Samples, Trace

# NVML: "Each sample period may be between 1 second and 1/6 second, depending on the product"
# (nvmlUtilization_t). Which one, the driver does not say.
LONGEST_AVERAGE_SECONDS = 1.0

# A finer metric counts where it was known for at least this part of the time.
LEAST_COVERAGE = 0.9

# Averages over exactly the time since the sample before.
FINER = ("utilization_samples", "sm_activity")
COARSE = "utilization"


def finest_metric(trace: Trace, gpu: str) -> tuple[str, float] | None:
    """The metric of a GPU (its UUID) that shows the shortest gaps, and their seconds.

    None where none was sampled. A sample of 0 is certain where the average behind it lies wholly
    inside the gap, and it is taken while the gap lasts: averaging time + sampling interval (the
    median of this run, before any thinning). `sm_activity` (GPM) and `utilization_samples` (the
    driver's buffer) are averages over one interval; `utilization` one over 1/6 to 1 s, of which
    the longest is taken.
    """
    gaps: dict[str, float] = {}
    for metric in (*FINER, COARSE):
        samples = trace.samples.get(f"gpu/{gpu}/{metric}")
        known = _known(samples) if samples else []
        if samples is None or len(known) < 2:
            continue
        spacing = median(later - earlier for earlier, later in pairwise(known))
        interval = spacing / samples.stride
        if metric == COARSE:
            gaps[metric] = interval + LONGEST_AVERAGE_SECONDS
        elif _covered(known, spacing) >= LEAST_COVERAGE * (samples.times[-1] - samples.times[0]):
            gaps[metric] = 2 * interval
    return min(gaps.items(), key=lambda gap: gap[1], default=None)


def shortest_visible_gap(trace: Trace, gpu: str) -> float | None:
    """Seconds a GPU (its UUID) must be idle for it to be seen for certain; None: not sampled."""
    finest = finest_metric(trace, gpu)
    return None if finest is None else finest[1]


def _known(samples: Samples) -> list[float]:
    return [t for t, v in zip(samples.times, samples.values, strict=False) if v is not None]


def _covered(known: list[float], spacing: float) -> float:
    """Seconds that the samples speak of: a hole is longer than two usual steps."""
    return sum(min(later - earlier, 2 * spacing) for earlier, later in pairwise(known))
