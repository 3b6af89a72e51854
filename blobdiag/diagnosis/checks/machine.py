"""Advisory checks of the machine during self-play: CPU, GPU memory, games per minute."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.checks.common import check, unknown
from blobdiag.diagnosis.expectations import Expectation
from blobdiag.diagnosis.facts import expectations, gpus_in_use, total_mean, windows
from blobdiag.model import names
from blobdiag.model.base import Metric, Role
from blobdiag.model.device import Device
from blobdiag.model.figures import figure
from blobdiag.model.judgement import Check
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# NVML counts in MiB, the expectation is in GB.
GB_IN_A_MIB = 1024**2 / 1000**3


def machine_checks(report: Report, throughput: Throughput) -> list[Check]:
    """Advisory checks of CPU, VRAM and games/min during an arm's self-play."""
    expected, on_gpu = expectations(report), Device.of(throughput.device).on_cuda
    device = throughput.device
    cpu = _mean(report, device, "CPU utilisation", [names.HOST_CPU], "%")
    checks = [advisory(cpu, expected["cpu"])]
    if on_gpu:
        used = [names.gpu(uuid, "memory_used") for uuid in gpus_in_use(report)]
        memory = _mean(report, device, "GPU memory used", used, "GB", GB_IN_A_MIB)
        checks.append(advisory(memory, expected["vram"]))
    games = expected["gpu-games" if on_gpu else "cpu-games"]
    return [*checks, advisory(throughput.games_per_minute, games)]


def advisory(metric: Metric, expectation: Expectation) -> Check:
    """A figure beside the range the report expects; never decides. Not known in another unit."""
    if metric.unit != expectation.unit:
        reason = f"it is in {metric.unit}, expected in {expectation.unit}"
        made = unknown(metric.name, expectation, reason)
    elif metric.value is None:
        made = unknown(metric.name, expectation, str(metric.reason))
    else:
        seen = f"{figure(metric.value)} {metric.unit}"
        made = check(metric.name, expectation, expectation.judge(metric.value), seen)
    return made.model_copy(update={"role": Role.ADVISORY})


def _mean(
    report: Report, device: str, name: str, series: Sequence[str], unit: str, scale: float = 1.0
) -> Metric:
    """Mean of all these series over a device's self-play phases, times `scale`."""
    value, samples = total_mean(report, series, windows(report, device))
    return Metric(
        name=name,
        value=None if value is None else scale * value,
        unit=unit,
        samples=samples,
        reason=None if samples else "no sample fell into self-play",
    )
