"""Energy that a GPU used: from the driver's counter, else integrated from its power."""

from __future__ import annotations

from itertools import pairwise

from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.sampling.trace import Trace

FROM_POWER = "power integrated over time: the driver has no energy counter for this GPU"
TOO_FEW = "fewer than two samples of energy or power"


def energy(trace: Trace, gpu: str, name: str) -> Metric:
    """Joules that a GPU (its UUID) used from its first to its last sample.

    Source: the difference of nvmlDeviceGetTotalEnergyConsumption (mJ since the driver was loaded);
    if that is unsupported or was reset, the power in W, integrated with the trapezoidal rule.
    """
    counted = [value for _, value in _known(trace, names.gpu(gpu, "energy"))]
    if len(counted) > 1 and counted == sorted(counted):
        joules = (counted[-1] - counted[0]) / 1000
        return Metric(name=name, value=joules, unit="J", samples=len(counted))
    power = _known(trace, names.gpu(gpu, "power"))
    if len(power) < 2:
        reason = trace.unsupported.get(names.gpu(gpu, "power"), TOO_FEW)
        return Metric(name=name, value=None, unit="J", samples=len(power), reason=reason)
    joules = sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(power))
    return Metric(name=name, value=joules, unit="J", samples=len(power), reason=FROM_POWER)


def _known(trace: Trace, name: str) -> list[tuple[float, float]]:
    samples = trace.samples.get(name)
    if samples is None:
        return []
    pairs = zip(samples.times, samples.values, strict=False)
    return [(time, value) for time, value in pairs if value is not None]
