"""Collects the CUDA facts of this machine: PCI bus, device nodes, NVML, container, torch."""

from __future__ import annotations

import os
import platform
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from blobdiag.model.cuda_facts import WSL_LIBCUDA, CudaFacts
from blobdiag.sampling import machine, software
from blobdiag.sampling.cgroup import cgroup_cpu_quota
from blobdiag.sampling.nvidia.nvml_reader import NvmlReader, NvmlUnavailable, open_nvml

NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"


def collect(kernel_cache: bool | None) -> CudaFacts:
    """Look at this machine; imports torch, and creates a CUDA context where it can.

    `kernel_cache`: whether compiled kernels can be kept between runs, None: not known.
    """
    reader, reason = _nvml()
    try:
        gpus = tuple(reader.gpus) if reader else ()
        driver = (reader.driver, reader.cuda_driver) if reader else (None, None)
    finally:
        if reader:
            reader.close()
    nodes = tuple(_device_nodes())
    works, error = _try_cuda()
    return CudaFacts(
        pci_nvidia=nvidia_on_pci(),
        container=machine.container(),
        wsl=machine.is_wsl(),
        wsl_libcuda=WSL_LIBCUDA.exists(),
        device_nodes=nodes,
        closed_nodes=tuple(node for node in nodes if not os.access(node, os.R_OK | os.W_OK)),
        gpus=gpus,
        nvml_reason=reason,
        driver=driver[0],
        driver_cuda=driver[1],
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        device_order=os.environ.get("CUDA_DEVICE_ORDER"),
        torch=software.package_version("torch"),
        torch_cuda=software.torch_cuda(),
        torch_rocm=software.torch_rocm(),
        cuda_works=works,
        cuda_error=error,
        cores_usable=machine.usable_cores(),
        cores_total=os.cpu_count() or 1,
        cpu_quota=cgroup_cpu_quota(),
        kernel_cache=kernel_cache,
    )


def nvidia_on_pci(root: Path = Path("/")) -> bool | None:
    """Whether the PCI bus has a display controller of NVIDIA; None where it shows nothing."""
    if platform.system() == "Darwin":
        # CUDA ended on macOS with version 10.2.
        return False
    devices = list((root / "sys/bus/pci/devices").glob("*"))
    if not devices:
        return None
    return any(
        _word(device / "vendor") == NVIDIA_VENDOR
        and _word(device / "class").startswith(DISPLAY_CLASS)
        for device in devices
    )


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _device_nodes(root: Path = Path("/")) -> Iterator[str]:
    """/dev/nvidia0, …, /dev/nvidiactl and /dev/nvidia-uvm: those CUDA opens; WSL's is /dev/dxg."""
    for node in sorted((root / "dev").glob("nvidia*")):
        if re.fullmatch(r"nvidia(\d+|ctl|-uvm)", node.name):
            yield f"/dev/{node.name}"
    if machine.is_wsl() and (root / "dev/dxg").exists():
        yield "/dev/dxg"


def _nvml() -> tuple[NvmlReader | None, str | None]:
    try:
        return open_nvml(), None
    except NvmlUnavailable as error:
        return None, str(error)


def _try_cuda() -> tuple[bool, str | None]:
    """Whether torch computes on the GPU, and in one line why not."""
    try:
        with warnings.catch_warnings():
            # What torch would warn of is raised by the computation as well.
            warnings.simplefilter("ignore")
            import torch

            return bool((torch.ones(1, device="cuda") + 1).item() == 2), None
    except Exception as error:
        text = str(error).strip().splitlines()
        return False, text[0] if text else type(error).__name__
