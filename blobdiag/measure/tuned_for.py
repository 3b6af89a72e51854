"""The hardware that tuned settings depend on."""

from __future__ import annotations

import torch

from blobdiag.model.device import Device
from blobdiag.model.tuned_for import Hardware
from blobdiag.sampling.machine import machine


def hardware(device: str) -> Hardware:
    """CPU, cores and torch version of this machine, and its visible GPUs if `device` is one."""
    host = machine()
    gpus: tuple[str, ...] = ()
    if Device.of(device).on_cuda and torch.cuda.is_available():
        gpus = tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Hardware(host.cpu, host.cores_usable, gpus, torch.__version__)
