"""Reads NVIDIA GPUs through NVML, with the binding of the `nvidia-ml-py` package.

The binding's error objects compare equal by code but are not hashable, so everything here goes
by their integer `value`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from time import monotonic
from types import ModuleType
from typing import Any, NamedTuple

from blobdiag.reporting.model import Gpu
from blobdiag.sampling.source import Reading, Tier
from blobdiag.sampling.trace import BIT_MASK

MIB = 2**20

# NVML needs two GPM samples at least 100 ms apart to say anything of the time between them.
GPM_SECONDS = 0.1

# Error codes (nvmlReturn_t) by what they mean for later samples; all others are transient.
_NEVER = {
    2: "invalid argument",
    3: "not supported by this GPU or driver",
    4: "insufficient permissions",
    13: "function not found in this driver",
    25: "argument version mismatch: driver too old",
    26: "deprecated in this driver",
}
_LOST = {15: "GPU is lost", 16: "GPU requires a reset", 28: "GPU not found"}

_NO_NVML = {
    4: "no permission to use the NVIDIA driver",
    9: "NVIDIA driver is not loaded",
    12: "NVML shared library not found: no NVIDIA driver is visible here",
    18: "NVIDIA driver and NVML library differ in version: reboot or reload the driver",
}

# The software power cap (0x04) is left out: a busy card at its limit is as fast as it gets.
_THROTTLE = {
    0x08: "hardware slowdown",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
}

# name: id in nvmlGpmMetricId_t; all are percentages, 0 to 100.
_GPM = {"sm_activity": 2, "sm_occupancy": 3, "tensor_activity": 5, "dram_activity": 10}


class NvmlUnavailable(Exception):
    """There is no NVIDIA GPU to read here; the message is one line that says why."""


def open_nvml(binding: Any = None) -> NvmlReader:
    """Initialise NVML and probe once what each GPU supports.

    `binding` is a module like `pynvml` of nvidia-ml-py, which is imported where it is None.
    Raises NvmlUnavailable with a one-line reason; nothing stays initialised then.
    """
    nvml = _imported() if binding is None else binding
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NvmlUnavailable(_NO_NVML.get(error.value, f"NVML: {error}")) from None
    try:
        return NvmlReader(nvml)
    except BaseException:
        nvml.nvmlShutdown()
        raise


def throttle_reasons(mask: float) -> list[str]:
    """The reasons in a clocks event mask that mean the GPU was slowed down.

    Idle, application clocks and sync boost are no throttling (NVML, nvmlClocksEventReasons).
    """
    return [text for bit, text in _THROTTLE.items() if int(mask) & bit]


class NvmlReader:
    """The GPUs of this machine, their handles fetched once.

    `gpus` are in NVML's order, which is not CUDA's: compare UUIDs. `unsupported` maps a metric's
    full name to the reason why it never has a value. Metrics, all under `gpu/<uuid>/`:

    - FAST: `utilization` % (share of NVML's averaging window in which a kernel ran),
      `memory_utilization` %, `memory_used` MiB (the driver's own reserve included) and, from
      Hopper on, `sm_activity`, `sm_occupancy`, `tensor_activity`, `dram_activity` in %, averaged
      over the time since the previous reading.
    - SLOW: `power` W, `sm_clock` and `memory_clock` MHz, `temperature` °C,
      `clocks_event_reasons` (bit mask), `energy` mJ since the driver was loaded.
    - PROCESSES: `processes` (count) and `process/<pid>/memory` MiB; in a container the PIDs may
      be the host's.
    """

    def __init__(self, nvml: Any) -> None:
        """Use `open_nvml`. Raises NvmlUnavailable when the driver offers no usable GPU."""
        self.unsupported: dict[str, str] = {}
        self._nvml = nvml
        self._events: list[str] = []
        self.driver = self._or_none(nvml.nvmlSystemGetDriverVersion)
        self.cuda_driver = _cuda_version(self._or_none(nvml.nvmlSystemGetCudaDriverVersion))
        self._devices = self._open_devices()
        self.gpus = [device.gpu for device in self._devices]
        if not self._devices:
            reasons = "; ".join(self._events) or "it lists none"
            raise NvmlUnavailable(f"NVIDIA driver {self.driver} offers no GPU: {reasons}")
        for tier in Tier:
            list(self.read(tier))

    def read(self, tier: Tier) -> Iterator[Reading]:
        """Read one tier of every GPU; a transient error gives None, to be tried again."""
        for device in self._devices:
            for query in device.queries.get(tier, ()):
                yield from self._ask(device, query)
            if tier is Tier.PROCESSES:
                yield from self._processes(device)

    def mig_enabled(self, uuid: str) -> bool | None:
        """Whether a GPU is split by MIG; None where the driver does not say."""
        handle = next(device.handle for device in self._devices if device.gpu.uuid == uuid)
        try:
            return bool(self._nvml.nvmlDeviceGetMigMode(handle)[0])
        except self._nvml.NVMLError as error:
            return False if error.value == self._nvml.NVML_ERROR_NOT_SUPPORTED else None

    def take_events(self) -> list[str]:
        """Lost or unusable GPUs since the last call, one line each."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Free what was allocated and shut NVML down; errors no longer matter."""
        for device in self._devices:
            if device.gpm is not None:
                device.gpm.free()
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return

    def _open_devices(self) -> list[_Device]:
        nvml, devices = self._nvml, []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                devices.append(_Device(self._identity(handle, index), handle, nvml))
            except nvml.NVMLError as error:
                self._events.append(f"GPU {index} cannot be used: {error}")
        return devices

    def _identity(self, handle: Any, index: int) -> Gpu:
        nvml = self._nvml
        capability = self._or_none(lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
        memory = self._or_none(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total)
        return Gpu(
            uuid=nvml.nvmlDeviceGetUUID(handle),
            name=self._or_none(lambda: nvml.nvmlDeviceGetName(handle)) or "unknown",
            nvml_index=index,
            memory_mib=None if memory is None else memory / MIB,
            compute_capability=None if capability is None else "{}.{}".format(*capability),
        )

    def _ask(self, device: _Device, query: _Query) -> Iterator[Reading]:
        names = [f"gpu/{device.gpu.uuid}/{metric}" for metric, _ in query.metrics]
        if all(name in self.unsupported for name in names):
            return
        values = self._values(device, query)
        # A query without values yet (the first GPM sample) gives no readings.
        for name, (_, unit), answer in zip(names, query.metrics, values, strict=False):
            value = self._judge(device, name, answer)
            if name not in self.unsupported:
                yield Reading(name, unit, value)

    def _values(self, device: _Device, query: _Query) -> tuple[Any, ...]:
        """One answer a metric: a number, or the error that stands in its place."""
        if device.lost:
            return (None,) * len(query.metrics)
        try:
            return query.call()
        except self._nvml.NVMLError as error:
            return (error,) * len(query.metrics)

    def _judge(self, device: _Device, name: str, answer: Any) -> float | None:
        if not isinstance(answer, self._nvml.NVMLError):
            return None if answer is None or not math.isfinite(answer) else float(answer)
        if answer.value in _NEVER:
            self.unsupported[name] = f"NVML: {_NEVER[answer.value]}"
        elif answer.value in _LOST and not device.lost:
            device.lost = True
            self._events.append(f"{device.gpu.name} ({device.gpu.uuid}): {_LOST[answer.value]}")
        return None

    def _processes(self, device: _Device) -> Iterator[Reading]:
        count = f"gpu/{device.gpu.uuid}/processes"
        if count in self.unsupported:
            return
        try:
            running = [] if device.lost else self._running(device)
        except self._nvml.NVMLError as error:
            value = self._judge(device, count, error)
            if count not in self.unsupported:
                yield Reading(count, "processes", value)
            return
        yield Reading(count, "processes", None if device.lost else float(len(running)))
        for process in running:
            name = f"gpu/{device.gpu.uuid}/process/{process.pid}/memory"
            used = process.usedGpuMemory
            if used is None:
                self.unsupported[name] = "the driver does not say how much this process uses"
            yield Reading(name, "MiB", None if used is None else used / MIB)

    def _running(self, device: _Device) -> list[Any]:
        return list(self._nvml.nvmlDeviceGetComputeRunningProcesses(device.handle))

    def _or_none(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._nvml.NVMLError:
            return None


class _Query(NamedTuple):
    """One call of the driver: the metrics it answers, as (name, unit), and the call."""

    metrics: tuple[tuple[str, str], ...]
    call: Callable[[], tuple[Any, ...]]


class _Device:
    """One GPU: its identity, its handle, and what can be asked of it."""

    def __init__(self, gpu: Gpu, handle: Any, nvml: Any) -> None:
        self.gpu = gpu
        self.handle = handle
        self.lost = False
        self.gpm = _Gpm.open(handle, nvml)
        self.queries = {Tier.FAST: self._fast(nvml), Tier.SLOW: self._slow(nvml)}

    def _fast(self, nvml: Any) -> list[_Query]:
        def utilization() -> tuple[Any, ...]:
            rates = nvml.nvmlDeviceGetUtilizationRates(self.handle)
            return rates.gpu, rates.memory

        def memory() -> tuple[Any, ...]:
            return (nvml.nvmlDeviceGetMemoryInfo(self.handle).used / MIB,)

        def no_gpm() -> tuple[Any, ...]:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)

        return [
            _Query((("utilization", "%"), ("memory_utilization", "%")), utilization),
            _Query((("memory_used", "MiB"),), memory),
            _Query(tuple((name, "%") for name in _GPM), self.gpm.values if self.gpm else no_gpm),
        ]

    def _slow(self, nvml: Any) -> list[_Query]:
        def single(name: str, unit: str, call: Callable[[], float]) -> _Query:
            return _Query(((name, unit),), lambda: (call(),))

        handle = self.handle
        return [
            single("power", "W", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            single(
                "sm_clock", "MHz", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
            ),
            single(
                "memory_clock",
                "MHz",
                lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            ),
            single(
                "temperature",
                "°C",
                lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            ),
            single(
                "clocks_event_reasons",
                BIT_MASK,
                lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            ),
            single("energy", "mJ", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
        ]


class _Gpm:
    """GPU performance monitoring: averages between two samples, the older one kept."""

    def __init__(self, handle: Any, nvml: Any) -> None:
        self._handle = handle
        self._nvml = nvml
        self._older = nvml.nvmlGpmSampleAlloc()
        self._newer = nvml.nvmlGpmSampleAlloc()
        self._stamp: float | None = None

    @classmethod
    def open(cls, handle: Any, nvml: Any) -> _Gpm | None:
        """None where the GPU, or its driver, has no GPM."""
        try:
            supported = nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice
            return cls(handle, nvml) if supported else None
        except nvml.NVMLError:
            return None

    def values(self) -> tuple[Any, ...]:
        """Percentages in the order of `_GPM`, or nothing while there is no older sample."""
        now = monotonic()
        if self._stamp is not None and now - self._stamp < GPM_SECONDS:
            return ()
        try:
            self._nvml.nvmlGpmSampleGet(self._handle, self._newer)
        except self._nvml.NVMLError:
            # What the buffer holds now is anyone's guess: begin a new pair.
            self._stamp = None
            raise
        first, self._stamp = self._stamp is None, now
        try:
            return () if first else self._between()
        finally:
            self._older, self._newer = self._newer, self._older

    def _between(self) -> tuple[Any, ...]:
        ask = self._nvml.c_nvmlGpmMetricsGet_t()
        ask.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        ask.sample1, ask.sample2 = self._older, self._newer
        # The driver goes through numMetrics entries: one too many is an invalid metric.
        ask.numMetrics = len(_GPM)
        for slot, metric in enumerate(_GPM.values()):
            ask.metrics[slot].metricId = metric
        self._nvml.nvmlGpmMetricsGet(ask)
        return tuple(self._answer(ask.metrics[slot]) for slot in range(len(_GPM)))

    def _answer(self, metric: Any) -> Any:
        if metric.nvmlReturn != self._nvml.NVML_SUCCESS:
            return self._nvml.NVMLError(metric.nvmlReturn)
        return metric.value

    def free(self) -> None:
        for sample in (self._older, self._newer):
            try:
                self._nvml.nvmlGpmSampleFree(sample)
            except self._nvml.NVMLError:
                continue


def _imported() -> ModuleType:
    try:
        import pynvml
    except ImportError:
        raise NvmlUnavailable("the package nvidia-ml-py is not installed") from None
    if not hasattr(pynvml, "nvmlGpmMetricsGet"):
        raise NvmlUnavailable(
            "the module pynvml is not that of nvidia-ml-py: uninstall the deprecated package pynvml"
        )
    return pynvml


def _cuda_version(number: int | None) -> str | None:
    """12040 is CUDA 12.4 (NVML, nvmlSystemGetCudaDriverVersion)."""
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"
