"""What a machine, its NVIDIA driver and its torch say of CUDA: the facts `doctor` judges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blobdiag.model.machine import Gpu

WSL_LIBCUDA = Path("/usr/lib/wsl/lib/libcuda.so.1")


@dataclass(frozen=True)
class CudaFacts:
    """What one machine has; None: could not be found out."""

    pci_nvidia: bool | None
    """Whether a display controller of NVIDIA is on the PCI bus."""
    container: str | None
    wsl: bool
    wsl_libcuda: bool
    device_nodes: tuple[str, ...]
    closed_nodes: tuple[str, ...]
    """Device nodes this user may not open."""
    gpus: tuple[Gpu, ...]
    nvml_reason: str | None
    driver: str | None
    driver_cuda: str | None
    """The newest CUDA version that the driver supports, as '12.4'."""
    visible_devices: str | None
    device_order: str | None
    """CUDA_DEVICE_ORDER."""
    torch: str
    torch_cuda: str | None
    torch_rocm: str | None
    """The ROCm version that torch was built for, which calls an AMD GPU `cuda`."""
    cuda_works: bool
    """Whether torch computed something on the device."""
    cuda_error: str | None
    cores_usable: int
    cores_total: int
    cpu_quota: float | None
    kernel_cache: bool | None
    """Whether compiled kernels can be kept between runs."""

    @property
    def hardware(self) -> bool | None:
        """Whether this machine has an NVIDIA GPU, by any mark of one."""
        computed = self.cuda_works and self.torch_rocm is None
        marks = (self.gpus, self.device_nodes, self.pci_nvidia, self.wsl_libcuda, computed)
        if any(marks):
            return True
        # Under WSL the GPU is not on the PCI bus of Linux.
        return None if self.wsl else self.pci_nvidia
