"""The devices of this machine, as torch and the engine see them."""

from __future__ import annotations

import torch

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.device import Device
from blobdiag.model.errors import UserError
from engine.network import devices
from engine.network.devices import (
    DeviceUnavailable,
    devices_for,
    memory_reserved,
    resolve_auto,
    worker_devices,
)

__all__ = [
    "DeviceUnavailable",
    "cuda_reason",
    "first_gpu",
    "own_gpu_memory",
    "present_device",
    "resolve_auto",
    "worker_devices",
]


def cuda_reason() -> str | None:
    """Why torch cannot use a GPU, in one line; None: it can."""
    return None if torch.cuda.is_available() else devices.cuda_reason()


def first_gpu(device: str) -> str:
    """'cuda:0' for 'cuda', else `device`."""
    return "cuda:0" if Device.of(device) == Device("cuda") else device


def own_gpu_memory() -> float | None:
    """Peak MiB that torch reserved on a GPU in this process; None: it uses no GPU."""
    return memory_reserved(torch.device("cuda")) if torch.cuda.is_initialized() else None


def present_device(device: str) -> str:
    """`device` without `auto`; raises UserError for one that this machine does not have."""
    name = resolve_auto(device)
    try:
        devices_for(name)
    except DeviceUnavailable as error:
        raise UserError(str(error)) from None
    return name
