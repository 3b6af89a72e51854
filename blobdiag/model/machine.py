"""The machine, GPUs and software of a run."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Model


class Machine(Model):
    """The machine of a run; holds no host name, user or path except in `label`."""

    label: str | None = None
    platform: str
    cpu: str
    cores_usable: int = Field(description="affinity ∩ cgroup quota, rounded down, at least 1")
    cores_total: int
    cgroup_cpu_quota: float | None = None
    memory_gib: float
    container: str | None = Field(default=None, description="docker, podman, kubernetes, wsl, …")


class MigInstance(Model):
    """The position of a MIG instance on its GPU."""

    parent_uuid: str
    gpu_instance: int | None = None
    compute_instance: int | None = None


class Gpu(Model):
    """One GPU or MIG instance, as the driver and torch report it."""

    uuid: str
    name: str
    nvml_index: int | None = None
    cuda_index: int | None = None
    pci_bus_id: str | None = None
    mig_enabled: bool | None = Field(default=None, description="split by MIG; None: unknown")
    mig: MigInstance | None = Field(default=None, description="None: a whole GPU")
    memory_mib: float | None = None
    compute_capability: str | None = None


class Software(Model):
    """Software versions that affect the speed of a run."""

    blobdiag: str
    python: str
    torch: str
    torch_cuda: str | None = Field(description="CUDA version torch was built for; None: CPU build")
    cuda_reason: str | None = Field(
        default=None, description="why torch cannot use a GPU; None: it can"
    )
    numpy: str
    numba: str
    driver: str | None = None
    git_commit: str | None = None
