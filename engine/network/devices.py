"""Devices by name: parsed, resolved to what this machine has, and spread over workers."""

from __future__ import annotations

import os
import re

import torch


class DeviceError(ValueError):
    """The text names no device; the message is one line for the user."""


class DeviceUnavailable(RuntimeError):
    """The named device is not on this machine; the message says why, in one line."""


def usable_cores() -> int:
    """Number of cores this process may run on, by its CPU affinity where the system has one.

    A container's CPU quota is not considered: callers that know it pass a lower number.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def parse_device(name: str) -> tuple[str, int | None]:
    """Kind (cpu, meta or cuda) and index; None: cuda without an index. Raises DeviceError.

    torch.device is no parser for user input: it reads "cuda:128" as index -128.
    """
    match = re.fullmatch(r"(cpu|meta|cuda)(?::(0|[1-9]\d*))?", name)
    if match is None or (match[2] is not None and match[1] != "cuda"):
        raise DeviceError(f"device must be cpu, cuda or cuda:N, not {name!r}")
    return match[1], None if match[2] is None else int(match[2])


def cuda_reason() -> str:
    """Why torch sees no CUDA device, in one line."""
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return "torch finds no CUDA device"


def devices_for(device: str) -> list[str]:
    """The devices that `device` allows, with their index: cuda means all visible GPUs.

    Raises DeviceError for a malformed name, DeviceUnavailable for a device that is not there.
    """
    kind, index = parse_device(device)
    if kind != "cuda":
        return [device]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise DeviceUnavailable(f"{device} is not available: {cuda_reason()}")
    if index is None:
        return [f"cuda:{gpu}" for gpu in range(count)]
    if index >= count:
        raise DeviceUnavailable(
            f"{device} is not available: torch sees {count} GPU(s), from cuda:0"
        )
    return [device]


def worker_devices(device: str, workers: int) -> list[str]:
    """The device of each worker, index included; `cuda` assigns the visible GPUs in turn.

    Raises DeviceError for a malformed name, DeviceUnavailable for a device that is not there.
    """
    allowed = devices_for(device)
    return [allowed[worker % len(allowed)] for worker in range(workers)]


def resolve_auto(device: str) -> str:
    """`auto` becomes cuda where torch sees a GPU, else cpu; any other name is returned as it is.

    Raises DeviceError for a malformed name.
    """
    if device != "auto":
        parse_device(device)
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_uuid(device: torch.device) -> str | None:
    """The UUID of a CUDA device as NVML writes it, `GPU-…`; None for other devices."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def memory_reserved(device: torch.device) -> float | None:
    """Peak MiB that torch has reserved on a GPU for this process; None for other devices."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_reserved(device) / 2**20
