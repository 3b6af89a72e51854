"""The GPUs and MIG instances that NVML lists: handle, UUID, name, memory, PCI bus ID."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from blobdiag.model.machine import Gpu, MigInstance
from blobdiag.sampling.nvidia.gpm import Gpm

MIB = 2**20


class NvmlDevice:
    """One GPU or MIG instance with its handle."""

    def __init__(self, gpu: Gpu, handle: Any, gpm: Gpm | None) -> None:
        self.gpu = gpu
        self.handle = handle
        self.gpm = gpm
        self.lost: str | None = None
        """Why it is not read any more."""


def list_devices(nvml: Any, events: list[str]) -> Iterator[NvmlDevice]:
    """Every GPU that can be used, in NVML's order, each followed by its MIG instances.

    What cannot be used gets a line in `events`.
    """
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        events.append(f"its GPUs cannot be counted: {error}")
        return
    for index in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            gpu = _whole(nvml, handle, index)
        except nvml.NVMLError as error:
            events.append(f"GPU {index} cannot be used: {error}")
            continue
        yield NvmlDevice(
            gpu, handle, Gpm.open(nvml, handle, partial(nvml.nvmlGpmSampleGet, handle))
        )
        if gpu.mig_enabled:
            yield from _instances(nvml, gpu, handle, events)


def answer_or_none(nvml: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """What an NVML call returns, None where it fails."""
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None


def _whole(nvml: Any, handle: Any, index: int) -> Gpu:
    pci = answer_or_none(nvml, nvml.nvmlDeviceGetPciInfo, handle)
    capability = answer_or_none(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    return _identity(nvml, handle).model_copy(
        update={
            "nvml_index": index,
            "pci_bus_id": pci and _text(pci.busId),
            "compute_capability": capability and "{}.{}".format(*capability),
            "mig_enabled": _mig_enabled(nvml, handle),
        }
    )


def _instances(nvml: Any, whole: Gpu, handle: Any, events: list[str]) -> Iterator[NvmlDevice]:
    for slot in range(answer_or_none(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot)
            gpu = _identity(nvml, part)
        except nvml.NVMLError as error:
            # Most slots are empty.
            if error.value != nvml.NVML_ERROR_NOT_FOUND:
                events.append(f"MIG instance {slot} of {whole.uuid} cannot be used: {error}")
            continue
        mig = MigInstance(
            parent_uuid=whole.uuid,
            gpu_instance=answer_or_none(nvml, nvml.nvmlDeviceGetGpuInstanceId, part),
            compute_instance=answer_or_none(nvml, nvml.nvmlDeviceGetComputeInstanceId, part),
        )
        gpu = gpu.model_copy(update={"mig": mig, "compute_capability": whole.compute_capability})
        take = partial(nvml.nvmlGpmMigSampleGet, handle, mig.gpu_instance)
        known = mig.gpu_instance is not None
        yield NvmlDevice(gpu, part, Gpm.open(nvml, handle, take) if known else None)


def _identity(nvml: Any, handle: Any) -> Gpu:
    """What a GPU and a MIG instance have in common; raises NVMLError without a UUID."""
    memory = answer_or_none(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return Gpu(
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=answer_or_none(nvml, nvml.nvmlDeviceGetName, handle) or "unknown",
        memory_mib=memory and memory.total / MIB,
    )


def _mig_enabled(nvml: Any, handle: Any) -> bool | None:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError as error:
        return False if error.value == nvml.NVML_ERROR_NOT_SUPPORTED else None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
