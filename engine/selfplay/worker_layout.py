"""How self-play is spread over a machine: workers and their devices, threads, lanes."""

from __future__ import annotations

from typing import NamedTuple

import torch

from engine.network.devices import devices_for, usable_cores, worker_devices
from engine.selfplay.faults import Injection

CPU_LANES = 96
"""Games in progress per search thread on the CPU; see docs/performance.md."""
CUDA_LANES = 1024
"""Games in progress per search thread on CUDA; not yet tuned."""


class Layout(NamedTuple):
    """W workers and what each of them runs."""

    devices: list[str]
    """[W] the device of each worker, index included."""
    threads: int
    """Search threads of a worker."""
    lanes: int
    """Games in progress of a worker, all its threads together."""


def lay_out(
    device: str,
    workers: int | None,
    threads: int | None,
    lanes: int | None,
    cores: int | None,
    injection: Injection,
) -> Layout:
    """The layout for `device`, with defaults in place of None.

    On the CPU: a worker per core, with one thread. On CUDA: a worker per visible GPU, whose
    threads share the cores. `cores` defaults to `usable_cores()`.
    Raises DeviceError for a malformed device, DeviceUnavailable for one that is not there.
    """
    allowed = devices_for(device)
    on_cuda = torch.device(allowed[0]).type == "cuda"
    cores = cores or usable_cores()
    workers = workers or (len(allowed) if on_cuda else cores)
    threads = threads or (max(2, cores // workers) if on_cuda else 1)
    lanes = lanes or threads * injection.lanes(CUDA_LANES if on_cuda else CPU_LANES)
    return Layout(worker_devices(device, workers), threads, lanes)


def groups_on(device: torch.device) -> int:
    """Groups of lanes per search thread: two on CUDA, where one is searched while one waits."""
    return 2 if device.type == "cuda" else 1
