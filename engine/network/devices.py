"""Names of devices: parsed, spread over workers, and compared with the index resolved."""

from __future__ import annotations

import os
import re

import torch


class DeviceError(ValueError):
    """The text is no device; the message is one line for the user."""


class DeviceUnavailable(RuntimeError):
    """The device is well-formed but not on this machine; the message says why."""


def usable_cores() -> int:
    """Cores this process may run on: scheduler affinity where the system has it.

    A container's quota is not looked at: callers who know it pass it on.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def check_device_name(device: str) -> str:
    """`device` itself. Raises DeviceError unless it is cpu, meta, cuda or cuda:N."""
    if not re.fullmatch(r"cpu|meta|cuda(:(0|[1-9]\d*))?", device):
        raise DeviceError(f"device must be cpu, cuda or cuda:N, not {device!r}")
    return device


def cuda_reason() -> str:
    """Why torch sees no CUDA device, in one line."""
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "torch finds no CUDA device"


def worker_devices(device: str, workers: int) -> list[str]:
    """The device of each worker: `cuda` goes round the visible GPUs, others are taken as named.

    Raises DeviceError for a malformed name, DeviceUnavailable for one that is not there.
    """
    check_device_name(device)
    if not device.startswith("cuda"):
        return [device] * workers
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise DeviceUnavailable(f"{device} is not available: {cuda_reason()}")
    if device == "cuda":
        return [f"cuda:{worker % count}" for worker in range(workers)]
    if int(device[5:]) >= count:
        raise DeviceUnavailable(
            f"{device} is not available: torch sees {count} GPU(s), from cuda:0"
        )
    return [device] * workers


def resolve_auto(device: str) -> str:
    """`auto` becomes cuda where torch sees a GPU, else cpu; other names are only checked.

    Raises DeviceError for a malformed name.
    """
    if device != "auto":
        return check_device_name(device)
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_uuid(device: torch.device) -> str | None:
    """The UUID of a CUDA device as NVML writes it, `GPU-…`; None for other devices."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def memory_reserved(device: torch.device) -> float | None:
    """The most MiB that torch has reserved on a GPU for this process; None elsewhere."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_reserved(device) / 2**20
