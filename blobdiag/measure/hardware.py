"""What a tuned setting holds for, of the machine at hand."""

from __future__ import annotations

import torch

from blobdiag.model.device import Device
from blobdiag.model.hardware import Hardware
from blobdiag.sampling.machine import machine


def hardware(device: str) -> Hardware:
    """The machine's CPU and cores, the visible GPUs where the device is one, and torch."""
    host = machine()
    gpus: tuple[str, ...] = ()
    if Device.of(device).on_cuda and torch.cuda.is_available():
        gpus = tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Hardware(host.cpu, host.cores_usable, gpus, torch.__version__)
