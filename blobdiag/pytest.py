"""A pytest plugin: the load of the machine while pytest-benchmark measured.

Enable it by `pytest_plugins = ["blobdiag.pytest"]` in the top conftest.py, or by
`pytest -p blobdiag.pytest`. A benchmark then asks for `gpu_benchmark` where it asked for
`benchmark`, and finds in its `extra_info`, and so in `--benchmark-json`:

- `device`: names of the GPUs that CUDA shows to this process, None with `device_reason`
- `cpu_utilisation`: mean of all cores of the host, %
- `gpu_utilisation`: mean over those GPUs, %, without the first second, whose readings by NVML
  include the time before
- `gpu_energy`: of those GPUs together, J

each but the device as {value, unit, samples, reason}: an unknown value is None and has a reason.
All cover the time from the test's beginning to its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from blobdiag.diagnosis.facts import NO_SAMPLE, after_look_back, mean_metric
from blobdiag.measure.recording import Recording
from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.model.machine import Gpu
from blobdiag.model.visible_gpus import visible
from blobdiag.sampling.nvidia.energy import energy
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.trace import Trace


@pytest.fixture
def gpu_benchmark(benchmark: Any) -> Iterator[Any]:
    """pytest-benchmark's `benchmark`, with the load of the machine in its `extra_info`.

    Samples nothing where benchmarks are disabled.
    """
    if not benchmark.enabled:
        yield benchmark
        return
    trace = Trace()
    recording = Recording("benchmark", "any device", {}, None, trace, Recorder(trace))
    with recording.recorder, trace.phase("benchmark"):
        yield benchmark
    benchmark.extra_info.update(machine_load(recording))


def machine_load(recording: Recording) -> dict[str, Any]:
    """The entries of `extra_info` for the recording's only phase."""
    trace = recording.trace
    gpus, reason = _visible_gpus(recording.recorder)
    phases = trace.to_phases()
    report = recording.report(gpus=gpus, used=[gpu.uuid for gpu in gpus], phases=phases)
    within = [(phase.start_s, phase.end_s) for phase in phases]
    utilization = [names.utilization(gpu.uuid) for gpu in gpus]
    busy = mean_metric(report, "GPU", utilization, after_look_back(within), reason or NO_SAMPLE)
    metrics = {
        "cpu_utilisation": mean_metric(report, "CPU", [names.HOST_CPU], within),
        "gpu_utilisation": busy,
        "gpu_energy": _energy(trace, gpus, reason),
    }
    fields = {"value", "unit", "samples", "reason"}
    return {
        "device": ", ".join(gpu.name for gpu in gpus) or None,
        "device_reason": reason,
        **{name: metric.model_dump(include=fields) for name, metric in metrics.items()},
    }


def _visible_gpus(recorder: Recorder) -> tuple[list[Gpu], str | None]:
    """The GPUs that CUDA shows to this process, or why there are none."""
    if not recorder.gpus:
        return [], recorder.death or recorder.gpu_reason
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        return recorder.gpus, None  # all of them, in an order that does not matter here
    seen = visible(os.environ, recorder.gpus)
    gpus = [gpu for gpu in recorder.gpus if gpu.uuid in (seen.uuids or [])]
    return gpus, None if gpus else seen.reason or seen.fault or "CUDA_VISIBLE_DEVICES hides all"


def _energy(trace: Trace, gpus: list[Gpu], reason: str | None) -> Metric:
    """Joules of all GPUs together; None as soon as one of them is not known."""
    each = [energy(trace, gpu.uuid, gpu.name) for gpu in gpus]
    known = [metric.value for metric in each if metric.value is not None]
    return Metric(
        name="energy",
        value=sum(known) if each and len(known) == len(each) else None,
        unit="J",
        samples=sum(metric.samples for metric in each),
        reason=next((metric.reason for metric in each if metric.reason), reason),
    )
