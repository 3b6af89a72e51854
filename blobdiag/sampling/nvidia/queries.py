"""What is asked of one GPU, or of one MIG instance: the driver's calls, by tier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, NamedTuple

from blobdiag.model.names import BIT_MASK
from blobdiag.sampling.nvidia import gpm
from blobdiag.sampling.nvidia.gpm import Gpm
from blobdiag.sampling.nvidia.processes import ProcessTable
from blobdiag.sampling.nvidia.sample_buffer import SampleBuffer
from blobdiag.sampling.source import Tier

MIB = 2**20


class Answer(NamedTuple):
    """What the driver said of one metric, its name without the GPU's.

    `value` is a number, or why there is none: the binding's error or a text. `time` is in
    monotonic seconds where it is not that of the reading.
    """

    metric: str
    unit: str
    value: Any
    time: float | None = None


class Query(NamedTuple):
    """One question to the driver.

    `metrics`, as (name, unit), are those that fail when `call` raises NVMLError.
    """

    metrics: tuple[tuple[str, str], ...]
    call: Callable[[], Iterable[Answer]]

    def failed(self, why: Any) -> list[Answer]:
        """The answers of a call that failed."""
        return [Answer(metric, unit, why) for metric, unit in self.metrics]


def queries(
    nvml: Any, handle: Any, monitor: Gpm | None, turn: int, devices: int
) -> dict[Tier, list[Query]]:
    """All queries of a device; `turn` is its number among `devices`, for those asked in turn.

    The same for a MIG instance: the driver itself says what it does not support there.
    """

    def utilization() -> list[float]:
        rates = nvml.nvmlDeviceGetUtilizationRates(handle)
        return [rates.gpu, rates.memory]

    def performance() -> list[Any]:
        if monitor is None:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
        return monitor.values()

    def clock(kind: int) -> Callable[[], float]:
        return lambda: nvml.nvmlDeviceGetClockInfo(handle, kind)

    def pcie(counter: int) -> Callable[[], float]:
        return lambda: nvml.nvmlDeviceGetPcieThroughput(handle, counter) / 1024

    table = ProcessTable(nvml, handle)
    buffer = SampleBuffer(nvml, handle)
    return {
        Tier.FAST: [
            _several({"utilization": "%", "memory_utilization": "%"}, utilization),
            _one("memory_used", "MiB", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / MIB),
            _several(dict.fromkeys(gpm.METRICS, "%"), performance),
        ],
        Tier.SLOW: [
            Query(
                (("utilization_samples", "%"),),
                lambda: [
                    Answer("utilization_samples", "%", sample.value, sample.time)
                    for sample in buffer.read()
                ],
            ),
            _one("power", "W", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            _one("sm_clock", "MHz", clock(nvml.NVML_CLOCK_SM)),
            _one("memory_clock", "MHz", clock(nvml.NVML_CLOCK_MEM)),
            _one(
                "temperature",
                "°C",
                lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            ),
            _one(
                "clocks_event_reasons",
                BIT_MASK,
                lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            ),
            _one("energy", "mJ", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
            _one(
                "pcie_generation",
                "generation",
                lambda: nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle),
            ),
            _one("pcie_width", "lanes", lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)),
        ],
        Tier.PROCESSES: [
            Query((("processes", "processes"),), lambda: _processes(table)),
            Query((("process_utilization", "%"),), lambda: _process_utilization(table)),
            *(
                _one_in_turn(name, "MiB/s", pcie(counter), turn, devices)
                for name, counter in (
                    ("pcie_sent", nvml.NVML_PCIE_UTIL_TX_BYTES),
                    ("pcie_received", nvml.NVML_PCIE_UTIL_RX_BYTES),
                )
            ),
        ],
    }


def _processes(table: ProcessTable) -> list[Answer]:
    listed = table.read()
    memory = [Answer(f"process/{pid}/memory", "MiB", used) for pid, used in listed.items()]
    return [Answer("processes", "processes", len(listed)), *memory]


def _process_utilization(table: ProcessTable) -> list[Answer]:
    """Of each listed process that the driver has a sample of, and their sum; none: no process."""
    shares = table.utilization()
    if isinstance(shares, str):
        return [Answer("process_utilization", "%", shares)]
    each = [Answer(f"process/{pid}/sm_utilization", "%", share) for pid, share in shares.items()]
    return [Answer("process_utilization", "%", sum(shares.values())), *each] if each else []


def _one(name: str, unit: str, call: Callable[[], float]) -> Query:
    return Query(((name, unit),), lambda: [Answer(name, unit, call())])


def _several(units: dict[str, str], call: Callable[[], list[Any]]) -> Query:
    """A call that answers all of `units` in their order, or has nothing to say yet: []."""
    metrics = tuple(units.items())
    return Query(
        metrics,
        lambda: [
            Answer(name, unit, value) for (name, unit), value in zip(metrics, call(), strict=False)
        ],
    )


def _one_in_turn(name: str, unit: str, call: Callable[[], float], turn: int, devices: int) -> Query:
    """A call that does not return for 20 ms (PCIe throughput): one device is asked at a time."""
    turns = count()

    def when_due() -> list[Answer]:
        return [Answer(name, unit, call())] if next(turns) % devices == turn else []

    return Query(((name, unit),), when_due)
