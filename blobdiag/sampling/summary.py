"""Figures of the report about the sampler, the energy used, and the numbering of GPUs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.model.machine import Gpu
from blobdiag.model.visible_gpus import visible
from blobdiag.sampling.nvidia.energy import energy
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.trace import Trace


def sampler_cost(recorder: Recorder) -> Metric:
    """CPU use of the sampler, in % of a core."""
    share = recorder.cost.share
    return Metric(
        name="sampler's own CPU",
        value=None if share is None else 100 * share,
        unit="% of a core",
        reason="the sampler sent nothing" if share is None else None,
    )


def energies(trace: Trace, gpus: Sequence[Gpu], uuids: Sequence[str]) -> list[Metric]:
    """The energy of each of these GPUs (UUIDs); NVML gives none for MIG instances."""
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    return [
        energy(trace, uuid, f"energy of GPU {by_uuid[uuid].nvml_index}")
        for uuid in uuids
        if by_uuid[uuid].mig is None
    ]


def ordinals(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> dict[str, int]:
    """CUDA's ordinals of the GPUs in this environment by UUID; empty if they are unknown."""
    return {uuid: index for index, uuid in enumerate(visible(environment, gpus).uuids or [])}


def why_unordered(gpus: Sequence[Gpu], environment: Mapping[str, str]) -> dict[str, str]:
    """Why a GPU has no CUDA ordinal (`cuda_index`), by series name."""
    seen = visible(environment, gpus)
    reason = seen.reason or seen.fault or "CUDA does not show it to this process"
    return {names.gpu(gpu.uuid, "cuda_index"): reason for gpu in gpus if gpu.cuda_index is None}


def gpus_listing(trace: Trace, gpus: Sequence[Gpu], pids: Collection[int]) -> list[str]:
    """UUIDs of the GPUs on which the driver listed one of these processes."""
    seen = (names.parse(name) for name in list(trace.samples))
    on = {one.gpu for one in seen if one.gpu is not None and one.pid in pids}
    return [gpu.uuid for gpu in gpus if gpu.uuid in on]
