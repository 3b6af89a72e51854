"""GPU performance monitoring (GPM): what Hopper and newer GPUs count between two samples."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

# NVML needs two GPM samples at least 100 ms apart to say anything of the time between them.
GPM_SECONDS = 0.1

# name: id in nvmlGpmMetricId_t; all are percentages, 0 to 100.
METRICS = {"sm_activity": 2, "sm_occupancy": 3, "tensor_activity": 5, "dram_activity": 10}


class Gpm:
    """Averages between the previous sample of one device and the next."""

    def __init__(self, nvml: Any, take: Callable[[Any], Any]) -> None:
        """`take` has the driver fill a sample: nvmlGpmSampleGet, or its form for MIG."""
        self._nvml = nvml
        self._take = take
        self._older = nvml.nvmlGpmSampleAlloc()
        self._newer = nvml.nvmlGpmSampleAlloc()
        self._stamp: float | None = None

    @classmethod
    def open(cls, nvml: Any, handle: Any, take: Callable[[Any], Any]) -> Gpm | None:
        """None where the GPU, or its driver, has no GPM; `handle` is the whole GPU's."""
        try:
            supported = nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice
            return cls(nvml, take) if supported else None
        except nvml.NVMLError:
            return None

    def values(self) -> list[Any]:
        """In the order of METRICS a percentage or its NVMLError; [] while no older sample is.

        Raises NVMLError where the driver gives nothing at all.
        """
        now = monotonic()
        if self._stamp is not None and now - self._stamp < GPM_SECONDS:
            return []
        try:
            self._take(self._newer)
        except self._nvml.NVMLError:
            # The buffer's content is undefined now: begin a new pair.
            self._stamp = None
            raise
        first, self._stamp = self._stamp is None, now
        try:
            return [] if first else self._between()
        finally:
            self._older, self._newer = self._newer, self._older

    def _between(self) -> list[Any]:
        query = self._nvml.c_nvmlGpmMetricsGet_t()
        query.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        query.sample1, query.sample2 = self._older, self._newer
        # The driver goes through numMetrics entries: one too many is an invalid metric.
        query.numMetrics = len(METRICS)
        for slot, metric in enumerate(METRICS.values()):
            query.metrics[slot].metricId = metric
        self._nvml.nvmlGpmMetricsGet(query)
        return [self._answer(query.metrics[slot]) for slot in range(len(METRICS))]

    def _answer(self, metric: Any) -> Any:
        if metric.nvmlReturn != self._nvml.NVML_SUCCESS:
            return self._nvml.NVMLError(metric.nvmlReturn)
        return metric.value

    def free(self) -> None:
        """Give both samples back; errors no longer matter."""
        for sample in (self._older, self._newer):
            try:
                self._nvml.nvmlGpmSampleFree(sample)
            except self._nvml.NVMLError:
                continue
