"""Reads all NVIDIA GPUs through NVML: support is probed once, errors become reasons.

The binding is that of the `nvidia-ml-py` package.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from blobdiag.model import names
from blobdiag.sampling.nvidia.devices import NvmlDevice, answer_or_none, list_devices
from blobdiag.sampling.nvidia.errors import LOST, NEVER, NO_NVML, NOTHING
from blobdiag.sampling.nvidia.nvml_calls import Answer, NvmlCall, nvml_calls
from blobdiag.sampling.source import Reading, Tier


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
        raise NvmlUnavailable(NO_NVML.get(error.value, f"NVML: {error}")) from None
    try:
        return NvmlReader(nvml)
    except BaseException:
        answer_or_none(nvml, nvml.nvmlShutdown)
        raise


class NvmlReader:
    """The GPUs of this machine and their MIG instances, their handles fetched once.

    `gpus` are in NVML's order, which is not CUDA's (see `visible`), each followed by its MIG
    instances. Metrics, all under `gpu/<uuid>/`, in the units of `names.GPU_UNITS`:

    - FAST: `utilization` (share of NVML's averaging window in which a kernel ran),
      `memory_utilization`, `memory_used` (the driver's own reserve included) and, from Hopper on,
      `sm_activity`, `sm_occupancy`, `tensor_activity`, `dram_activity`, averaged over the time
      since the previous reading.
    - SLOW: `utilization_samples` (the driver's own buffer of finer samples, with their times),
      `power`, `sm_clock` and `memory_clock`, `temperature`, `clocks_event_reasons`, `energy` since
      the driver was loaded, `pcie_generation` and `pcie_width` of the link as it is now.
    - PROCESSES: `processes` (count), `process/<pid>/memory`, `process/<pid>/sm_utilization` and
      their sum `process_utilization`; in a container the PIDs may be the host's. `pcie_sent` and
      `pcie_received` over 20 ms, one GPU at a time.
    """

    def __init__(self, nvml: Any) -> None:
        """Use `open_nvml`. Raises NvmlUnavailable when the driver offers no usable GPU."""
        self._nvml = nvml
        self._never: dict[str, str] = {}
        self._failing: dict[str, str] = {}
        self._reported: set[tuple[str, int]] = set()
        self._events: list[str] = []
        self.driver: str | None = answer_or_none(nvml, nvml.nvmlSystemGetDriverVersion)
        self.cuda_driver = _cuda_version(answer_or_none(nvml, nvml.nvmlSystemGetCudaDriverVersion))
        self._devices = list(list_devices(nvml, self._events))
        self.gpus = [device.gpu for device in self._devices]
        if not self._devices:
            reasons = "; ".join(self._events) or "it lists none"
            raise NvmlUnavailable(f"NVIDIA driver {self.driver} offers no GPU: {reasons}")
        self._calls = [
            nvml_calls(nvml, device.handle, device.gpm, turn, len(self._devices))
            for turn, device in enumerate(self._devices)
        ]
        for tier in Tier:
            list(self.read(tier))

    @property
    def unsupported(self) -> dict[str, str]:
        """A metric's full name: why it has no value, for ever or since an error just now."""
        return self._failing | self._never

    def read(self, tier: Tier) -> Iterator[Reading]:
        """Read one tier of every GPU; a transient error gives None, to be tried again."""
        for device, by_tier in zip(self._devices, self._calls, strict=True):
            for call in by_tier.get(tier, ()):
                yield from self._read(device, call)

    def take_events(self) -> list[str]:
        """Lost or unusable GPUs and first failures since the last call, one line each."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Free what was allocated and shut NVML down; errors no longer matter."""
        for device in self._devices:
            if device.gpm is not None:
                device.gpm.free()
        answer_or_none(self._nvml, self._nvml.nvmlShutdown)

    def _read(self, device: NvmlDevice, call: NvmlCall) -> Iterator[Reading]:
        uuid = device.gpu.uuid
        if all(names.gpu(uuid, metric) in self._never for metric in call.metrics):
            return
        for answer in self._answers(device, call):
            name = names.gpu(uuid, answer.metric)
            value = self._value(device, name, answer.value)
            if name not in self._never:
                yield Reading(name, value, answer.time)

    def _answers(self, device: NvmlDevice, call: NvmlCall) -> Iterable[Answer]:
        if device.lost is not None:
            return call.failed(device.lost)
        try:
            return call.read()
        except self._nvml.NVMLError as error:
            return call.failed(error)

    def _value(self, device: NvmlDevice, name: str, answer: Any) -> float | None:
        """The number of an answer; else None, with the reason in `unsupported`."""
        if isinstance(answer, self._nvml.NVMLError):
            self._take_error(device, name, answer)
        elif isinstance(answer, str):
            self._failing[name] = answer
        elif not math.isfinite(answer):
            self._failing[name] = "NVML: the answer is no number"
        else:
            self._failing.pop(name, None)
            return float(answer)
        return None

    def _take_error(self, device: NvmlDevice, name: str, error: Any) -> None:
        code = error.value
        if code in NEVER:
            self._never[name] = f"NVML: {NEVER[code]}"
            return
        text = LOST.get(code) or NOTHING.get(code) or str(error)
        self._failing[name] = f"NVML: {text}" + ("" if code in LOST else ", at the last reading")
        if code in LOST:
            device.lost = self._failing[name]
        # An empty answer is no event, and a broken driver fails at every turn: once is enough.
        if code not in NOTHING and (device.gpu.uuid, code) not in self._reported:
            self._reported.add((device.gpu.uuid, code))
            self._events.append(f"{device.gpu.name}: {text} ({name})")


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
