"""What the processes of a watched program count inside themselves, as it is read from outside."""

from __future__ import annotations

from typing import NamedTuple

from blobdiag.reporting.model import ModuleCalls


class Inside(NamedTuple):
    """One process's own account; the fields are those of `ProcessRecord` of the same names."""

    pid: int
    start_ticks: int
    """Clock ticks since boot, as in /proc/PID/stat: with the PID it names a process for good."""
    reason: str | None
    python: str | None
    torch: str | None
    start_method: str | None
    cuda_visible_devices: str | None
    cuda_initialised: bool | None
    gpu_memory_mib: float | None
    cpu_count: int | None
    debug_switches: list[str]
    unseen: list[str]
    modules: list[ModuleCalls]
    modules_left_out: int
    progress: dict[str, float]


class Mark(NamedTuple):
    """A phase that a process marked itself: `with phase("self-play")`."""

    name: str
    pid: int
    start: float
    """Monotonic seconds, as `time.monotonic()` of every process of the machine."""
    end: float | None
    """None: it is still in it, or it ended inside it."""
