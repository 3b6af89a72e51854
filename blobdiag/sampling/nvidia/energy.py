"""The energy a GPU used: the driver's counter, or else its power over time."""

from __future__ import annotations

from itertools import pairwise

from blobdiag.model.base import Metric
from blobdiag.sampling.trace import Trace

FROM_POWER = "power integrated over time: the driver does not count energy here"
TOO_FEW = "fewer than two samples of energy or power"


def energy(trace: Trace, gpu: str, name: str) -> Metric:
    """Joules that a GPU (its UUID) used from its first to its last sample.

    Source: nvmlDeviceGetTotalEnergyConsumption (mJ since the driver was loaded), whose difference
    counts; where it is not supported, or was reset meanwhile, the power in W, by trapezoids.
    """
    counted = [value for _, value in _known(trace, f"gpu/{gpu}/energy")]
    if len(counted) > 1 and counted == sorted(counted):
        joules = (counted[-1] - counted[0]) / 1000
        return Metric(name=name, value=joules, unit="J", samples=len(counted))
    power = _known(trace, f"gpu/{gpu}/power")
    if len(power) < 2:
        reason = trace.unsupported.get(f"gpu/{gpu}/power", TOO_FEW)
        return Metric(name=name, value=None, unit="J", samples=len(power), reason=reason)
    joules = sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(power))
    return Metric(name=name, value=joules, unit="J", samples=len(power), reason=FROM_POWER)


def _known(trace: Trace, name: str) -> list[tuple[float, float]]:
    samples = trace.samples.get(name)
    if samples is None:
        return []
    pairs = zip(samples.times, samples.values, strict=False)
    return [(time, value) for time, value in pairs if value is not None]
