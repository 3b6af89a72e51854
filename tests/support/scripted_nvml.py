"""A scripted stand-in for the module `pynvml`: its own errors, structs and constants, our GPUs."""

from __future__ import annotations

import ctypes
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pynvml

MIB = 2**20

DEFAULTS: dict[str, Any] = {
    "nvmlInit": None,
    "nvmlShutdown": None,
    "nvmlSystemGetDriverVersion": "575.51.03",
    "nvmlSystemGetCudaDriverVersion": 12090,
    "nvmlDeviceGetName": "NVIDIA Scripted",
    "nvmlDeviceGetCudaComputeCapability": (9, 0),
    "nvmlDeviceGetUtilizationRates": pynvml.c_nvmlUtilization_t(gpu=93, memory=41),
    "nvmlDeviceGetMemoryInfo": pynvml.c_nvmlMemory_t(
        total=81920 * MIB, free=78848 * MIB, used=3072 * MIB
    ),
    "nvmlDeviceGetPowerUsage": 350_500,
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4,
    "nvmlDeviceGetTotalEnergyConsumption": 123_456_789,
    "nvmlDeviceGetMigMode": [0, 0],
    "nvmlDeviceGetComputeRunningProcesses_v3": [],
    "nvmlGpmSampleFree": None,
}


def process(pid: int, used: int | None) -> Any:
    """An entry of the running processes, with the field names of the binding."""
    return SimpleNamespace(pid=pid, usedGpuMemory=used, gpuInstanceId=0, computeInstanceId=0)


class ScriptedNvml:
    """Use in place of the module.

    `script` maps a function's name to its answer; an exception class is raised; a list of class
    `Turns` is answered in turn, its last entry for ever. What is not scripted and has no default
    is a symbol that the driver lacks. `calls` counts.
    """

    def __init__(self, gpus: int = 1, gpm: bool = True, **script: Any) -> None:
        self.uuids = [f"GPU-{index:08d}-aaaa-bbbb-cccc-000000000000" for index in range(gpus)]
        self.gpm = gpm
        self.gpm_values = {2: 71.5, 3: 33.25, 5: 12.0, 10: 48.0}
        self.gpm_failures: dict[int, int] = {}
        self.script = DEFAULTS | script
        self.calls: Counter[str] = Counter()
        self.taken: list[int] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            return getattr(pynvml, name)
        return lambda *arguments: self._answer(name, *arguments)

    def _answer(self, name: str, *arguments: Any) -> Any:
        self.calls[name] += 1
        scripted = self.script.get(name, getattr(type(self), f"_{name}", _missing))
        if isinstance(scripted, Turns):
            scripted = scripted.pop(0) if len(scripted) > 1 else scripted[0]
        if isinstance(scripted, type) and issubclass(scripted, Exception):
            raise scripted()
        return scripted(self, *arguments) if callable(scripted) else scripted

    def _nvmlDeviceGetCount(self) -> int:
        return len(self.uuids)

    def _nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def _nvmlDeviceGetUUID(self, handle: int) -> str:
        return self.uuids[handle]

    def _nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 2619}[kind]

    def _nvmlGpmQueryDeviceSupport(self, handle: int) -> Any:
        return pynvml.c_nvmlGpmSupport_t(version=1, isSupportedDevice=int(self.gpm))

    def _nvmlGpmSampleAlloc(self) -> Any:
        return ctypes.cast(self.calls["nvmlGpmSampleAlloc"], pynvml.c_nvmlGpmSample_t)

    def _nvmlGpmSampleGet(self, handle: int, sample: Any) -> Any:
        self.taken.append(_address(sample))
        return sample

    def _nvmlGpmMetricsGet(self, ask: Any) -> Any:
        """As strict as the driver: version, both samples taken in order, every metric valid."""
        pair = [_address(ask.sample1), _address(ask.sample2)]
        asked = [ask.metrics[slot].metricId for slot in range(ask.numMetrics)]
        if ask.version != pynvml.NVML_GPM_METRICS_GET_VERSION:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
        if pair != self.taken[-2:] or any(metric not in self.gpm_values for metric in asked):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        for slot, metric in enumerate(asked):
            ask.metrics[slot].nvmlReturn = self.gpm_failures.get(metric, pynvml.NVML_SUCCESS)
            ask.metrics[slot].value = self.gpm_values[metric]
        return ask


class Turns(list[Any]):
    """Answers of one function, in turn."""


def _address(sample: Any) -> int:
    return ctypes.cast(sample, ctypes.c_void_p).value or 0


def _missing(*_: Any) -> Any:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
