"""Processes on a GPU: what the driver lists, and which of them are ours.

In a container the driver may list PIDs of the host, or none at all; a process is then known by
the memory it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from blobdiag.sampling.trace import Trace

MIB = 2**20

# What a process holds beside torch's allocations: the CUDA context and the kernels loaded. About
# 250 MiB (Turing) to 600 MiB (Hopper), and cuBLAS workspaces; more is somebody else's memory.
MOST_CONTEXT_MIB = 1024

NO_LIST = "without the driver's list of processes its samples may be stale"
NO_SAMPLE = "the driver has no sample of any process that it lists"
NO_MEMORY = "the driver does not say how much this process uses (Windows: WDDM manages it)"


class ProcessTable:
    """The compute processes of one device, and their share of it since the last reading."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._listed: set[int] | None = None
        self._last_seen = 0

    def read(self) -> dict[int, float | str]:
        """MiB by PID, a text where the driver does not report it; raises NVMLError."""
        self._listed = None
        # Where the driver lacks it, the name without a version raises what is no NVMLError.
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses_v3(self._handle)
        self._listed = {process.pid for process in running}
        return {process.pid: _memory(process.usedGpuMemory) for process in running}

    def utilization(self) -> dict[int, float] | str:
        """SM utilisation in % of the processes last listed, or why none; raises NVMLError.

        The driver gives a sample to "each process running, that had some non-zero utilization"
        (nvmlDeviceGetProcessUtilization), but its buffer may hold old ones, ones of processes
        that have ended, and invalid ones: those are dropped. A process without one is unknown.
        """
        if self._listed is None:
            return NO_LIST
        if not self._listed:
            return {}
        samples = self._nvml.nvmlDeviceGetProcessUtilization(self._handle, self._last_seen)
        newer = [s for s in samples if s.pid in self._listed and s.timeStamp > self._last_seen]
        sound = sorted((s.timeStamp, s.pid, s.smUtil) for s in newer if s.smUtil <= 100)
        self._last_seen = max((stamp for stamp, _, _ in sound), default=self._last_seen)
        # In order of time: the newest of each process stays.
        return {pid: float(share) for _, pid, share in sound} or NO_SAMPLE


def _memory(used: int | None) -> float | str:
    # The binding makes None of the value for "not available", which is 2^64 - 1; some drivers
    # are off by a little: no GPU has 2^60 bytes.
    return NO_MEMORY if used is None or used >= 2**60 else used / MIB


@dataclass(frozen=True)
class Owners:
    """Whose the listed processes of a GPU are; `foreign` is None where `reason` says why."""

    foreign: list[int] | None
    """PIDs, as the driver numbers them, that are not ours."""
    by_memory: bool = False
    """Whether ours were found by the memory they hold: the driver numbers processes otherwise."""
    reason: str | None = None


def listed(
    trace: Trace, gpu: str, windows: Iterable[tuple[float, float]]
) -> dict[int, float | None]:
    """Processes that the driver listed on a GPU (its UUID) within the windows.

    By PID the largest memory seen, in MiB; None: listed, but of unknown memory.
    """
    prefix, suffix = f"gpu/{gpu}/process/", "/memory"
    spans = list(windows)
    found: dict[int, float | None] = {}
    for name, samples in trace.samples.items():
        if not (name.startswith(prefix) and name.endswith(suffix)):
            continue
        if any(start <= time <= end for time in samples.times for start, end in spans):
            known = [value for start, end in spans for value in samples.between(start, end)]
            found[int(name.removeprefix(prefix).removesuffix(suffix))] = max(known, default=None)
    return found


def owners(listed: Mapping[int, float | None], ours: Mapping[int, float | None]) -> Owners:
    """Whose the processes are that the driver lists on a GPU.

    `listed` is the driver's MiB by PID, `ours` torch's own figure of each of our processes there,
    None where it said nothing. By PID where the driver lists one of ours that holds no less than
    it says; else by memory: each of ours is the listed process with the least memory above its
    own and at most MOST_CONTEXT_MIB more.
    """
    if not listed:
        return Owners(None, reason="the driver lists no process, not even ours")
    if any(_may_be(listed[pid], ours[pid]) for pid in listed.keys() & ours.keys()):
        return Owners(sorted(listed.keys() - ours.keys()))
    if None in ours.values() or None in listed.values():
        reason = "the driver lists none of our PIDs, and memory to know them by is not told"
        return Owners(None, reason=reason)
    rest = sorted((memory or 0.0, pid) for pid, memory in listed.items())
    for need in sorted((memory or 0.0 for memory in ours.values()), reverse=True):
        fit = next((entry for entry in rest if need <= entry[0] <= need + MOST_CONTEXT_MIB), None)
        if fit is None:
            reason = "the driver lists none of our PIDs, nor the memory that they hold"
            return Owners(None, by_memory=True, reason=reason)
        rest.remove(fit)
    return Owners(sorted(pid for _, pid in rest), by_memory=True)


def _may_be(listed: float | None, own: float | None) -> bool:
    """Whether a listed process can be the one of ours with the same PID (numbers may coincide)."""
    return listed is None or own is None or listed >= own
