"""What a run was measured on: the machine, its GPUs, the software."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Model


class Machine(Model):
    """What the run was measured on; no host name, user or path unless `label` was given."""

    label: str | None = None
    platform: str
    cpu: str
    cores_usable: int = Field(description="affinity ∩ cgroup quota, rounded down, at least 1")
    cores_total: int
    cgroup_cpu_quota: float | None = None
    memory_gib: float
    container: str | None = Field(default=None, description="docker, podman, kubernetes, wsl, …")


class MigInstance(Model):
    """Which part of which GPU a MIG instance is."""

    parent_uuid: str
    gpu_instance: int | None = None
    compute_instance: int | None = None


class Gpu(Model):
    """One GPU, or one MIG instance of it, as the driver and torch name it."""

    uuid: str
    name: str
    nvml_index: int | None = None
    cuda_index: int | None = None
    pci_bus_id: str | None = None
    mig_enabled: bool | None = Field(default=None, description="split by MIG; None: not told")
    mig: MigInstance | None = Field(default=None, description="None: it is a whole GPU")
    memory_mib: float | None = None
    compute_capability: str | None = None


class Software(Model):
    """Versions that decide how fast a run is."""

    blobdiag: str
    python: str
    torch: str
    torch_cuda: str | None = Field(description="CUDA version torch was built for, None: CPU build")
    cuda_reason: str | None = Field(
        default=None, description="why torch computes on no GPU, where it does not"
    )
    numpy: str
    numba: str
    driver: str | None = None
    git_commit: str | None = None
