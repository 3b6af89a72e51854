"""The NVML calls that read one GPU, or one MIG instance: metric → call, by sampling tier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, NamedTuple

from blobdiag.model import names
from blobdiag.sampling.nvidia import gpm
from blobdiag.sampling.nvidia.gpm import Gpm
from blobdiag.sampling.nvidia.processes import ProcessTable
from blobdiag.sampling.nvidia.sample_buffer import SampleBuffer
from blobdiag.sampling.source import Tier

MIB = 2**20


class Answer(NamedTuple):
    """One metric as NVML answered, in the unit of `names.GPU_UNITS`; without the GPU's name.

    `value` is a number, or why there is none: the binding's error or a text. `time` is in
    monotonic seconds where it is not that of the reading.
    """

    metric: str
    value: Any
    time: float | None = None


class NvmlCall(NamedTuple):
    """One NVML call, and the metrics that fail when it raises NVMLError."""

    metrics: tuple[str, ...]
    read: Callable[[], Iterable[Answer]]

    def failed(self, why: Any) -> list[Answer]:
        """The answers of a call that failed."""
        return [Answer(metric, why) for metric in self.metrics]


def nvml_calls(
    nvml: Any, handle: Any, monitor: Gpm | None, turn: int, devices: int
) -> dict[Tier, list[NvmlCall]]:
    """All calls for a device; `turn` is its number among `devices`, for those read in turn.

    The same for a MIG instance: the driver itself says what it does not support there.
    """

    def utilization() -> list[float]:
        rates = nvml.nvmlDeviceGetUtilizationRates(handle)
        return [rates.gpu, rates.memory]

    def performance() -> list[Any]:
        if monitor is None:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
        return monitor.values()

    def temperature() -> float:
        return float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))

    def clock(kind: int) -> Callable[[], float]:
        return lambda: nvml.nvmlDeviceGetClockInfo(handle, kind)

    def pcie(counter: int) -> Callable[[], float]:
        return lambda: nvml.nvmlDeviceGetPcieThroughput(handle, counter) / 1024

    table = ProcessTable(nvml, handle)
    buffer = SampleBuffer(nvml, handle)
    sent, received = nvml.NVML_PCIE_UTIL_TX_BYTES, nvml.NVML_PCIE_UTIL_RX_BYTES
    return {
        Tier.FAST: [
            _several(("utilization", "memory_utilization"), utilization),
            _one("memory_used", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / MIB),
            _several(tuple(gpm.METRICS), performance),
        ],
        Tier.SLOW: [
            NvmlCall(("utilization_samples",), lambda: _buffered(buffer)),
            _one("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            _one("sm_clock", clock(nvml.NVML_CLOCK_SM)),
            _one("memory_clock", clock(nvml.NVML_CLOCK_MEM)),
            _one("temperature", temperature),
            _one(
                "clocks_event_reasons",
                lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            ),
            _one("energy", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
            _one("pcie_generation", lambda: nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)),
            _one("pcie_width", lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)),
        ],
        Tier.PROCESSES: [
            NvmlCall(("processes",), lambda: _processes(table)),
            NvmlCall(("process_utilization",), lambda: _process_utilization(table)),
            _one_in_turn("pcie_sent", pcie(sent), turn, devices),
            _one_in_turn("pcie_received", pcie(received), turn, devices),
        ],
    }


def _buffered(buffer: SampleBuffer) -> list[Answer]:
    return [Answer("utilization_samples", sample.value, sample.time) for sample in buffer.read()]


def _processes(table: ProcessTable) -> list[Answer]:
    listed = table.read()
    memory = [Answer(names.process(pid, "memory"), used) for pid, used in listed.items()]
    return [Answer("processes", len(listed)), *memory]


def _process_utilization(table: ProcessTable) -> list[Answer]:
    """Of each listed process that the driver has a sample of, and their sum; none: no process."""
    shares = table.utilization()
    if isinstance(shares, str):
        return [Answer("process_utilization", shares)]
    each = [Answer(names.process(pid, "sm_utilization"), share) for pid, share in shares.items()]
    return [Answer("process_utilization", sum(shares.values())), *each] if each else []


def _one(metric: str, call: Callable[[], float]) -> NvmlCall:
    return NvmlCall((metric,), lambda: [Answer(metric, call())])


def _several(metrics: tuple[str, ...], call: Callable[[], list[Any]]) -> NvmlCall:
    """A call that answers all of `metrics` in their order, or has no answer yet: []."""
    return NvmlCall(metrics, lambda: list(map(Answer, metrics, call())))


def _one_in_turn(metric: str, call: Callable[[], float], turn: int, devices: int) -> NvmlCall:
    """A call that does not return for 20 ms (PCIe throughput): one device is read at a time."""
    turns = count()

    def when_due() -> list[Answer]:
        return [Answer(metric, call())] if next(turns) % devices == turn else []

    return NvmlCall((metric,), when_due)
