"""The driver's own buffer of utilisation samples, finer than any polling (nvmlDeviceGetSamples)."""

from __future__ import annotations

from time import monotonic
from typing import Any, NamedTuple

# The member of the union nvmlValue_t that holds a value, by nvmlValueType_t.
MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


class Sample(NamedTuple):
    """A utilisation in %, averaged over the driver's own period, and its monotonic time."""

    time: float
    value: float


class SampleBuffer:
    """What one GPU's buffer holds that was not read before.

    The driver's stamps are microseconds of an unnamed clock, so the newest sample of each reading
    is taken to be of now: every time is late by at most one period of the driver.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._last_stamp = 0
        self._last_time = float("-inf")

    def read(self) -> list[Sample]:
        """New samples in order of time; raises NVMLError, NVML_ERROR_NOT_FOUND for an empty one."""
        nvml = self._nvml
        kind, entries = nvml.nvmlDeviceGetSamples(
            self._handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, self._last_stamp
        )
        now = monotonic()
        # A driver that ignores the stamp it is given would have everything counted twice.
        fresh = sorted(
            (entry.timeStamp, getattr(entry.sampleValue, MEMBERS[kind]))
            for entry in entries
            if entry.timeStamp > self._last_stamp
        )
        if not fresh:
            self._last_time = now
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_FOUND)
        newest = fresh[-1][0]
        samples = [
            # Two readings are anchored apart: their times may not overlap.
            Sample(max(self._last_time, now - (newest - stamp) / 1e6), float(value))
            for stamp, value in fresh
            if value <= 100
        ]
        self._last_stamp, self._last_time = newest, now
        return samples
