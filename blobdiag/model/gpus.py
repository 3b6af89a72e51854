"""Which of the GPUs that NVML lists a UUID means."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.model.machine import Gpu


def find(uuid: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """The device NVML lists under the UUID that CUDA gives, whatever prefix either has.

    CUDA before 12 gives a MIG instance the UUID of its whole GPU: where that has one, it is it.
    """
    found = next((gpu for gpu in gpus if _digits(gpu.uuid) == _digits(uuid)), None)
    if found is None or not found.mig_enabled:
        return found
    parts = instances_of(found, gpus)
    return parts[0] if len(parts) == 1 else found


def instances_of(gpu: Gpu, gpus: Sequence[Gpu]) -> list[Gpu]:
    """The MIG instances of a whole GPU."""
    return [part for part in gpus if part.mig and part.mig.parent_uuid == gpu.uuid]


def _digits(uuid: str) -> str:
    return uuid.removeprefix("MIG-").removeprefix("GPU-").lower()
