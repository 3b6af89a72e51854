"""Processes on a GPU: what the driver lists of them."""

from __future__ import annotations

from typing import Any

MIB = 2**20

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
