"""`blobdiag doctor`: why CUDA is, or is not, seen here.

Facts are collected once; everything after that is pure: facts → lines → conclusion.
"""

from __future__ import annotations

import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blobdiag.reporting.model import Gpu
from blobdiag.sampling import host
from blobdiag.sampling.cgroup import cgroup_cpu_quota
from blobdiag.sampling.nvml import NvmlReader, NvmlUnavailable, open_nvml
from blobdiag.sampling.visible import Visible, visible

NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"
PYTORCH_INDEX = "https://download.pytorch.org/whl/cuXXX"
# What torch's error text holds: what helps.
CURES = {
    "no kernel image": f"this build has no code for your GPU: install another from {PYTORCH_INDEX}",
    "out of memory": "another process fills the GPU: see nvidia-smi, end it",
    "unknown error": "reload the driver (rmmod nvidia_uvm, then modprobe nvidia_uvm) or reboot",
}
DEFAULT_CURE = "mend the first problem above, then run doctor again"
WSL_LIBCUDA = Path("/usr/lib/wsl/lib/libcuda.so.1")


class State(StrEnum):
    """What a line came to; unknown is never ok."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


class Line(NamedTuple):
    """One thing looked at, what was seen, and what to do if it is a problem."""

    subject: str
    seen: str
    state: State
    remedy: str = ""
    hides_cuda: bool = True
    """Whether such a problem keeps CUDA from being seen, or is only a nuisance."""


@dataclass(frozen=True)
class Facts:
    """All that the lines are drawn from; None: could not be found out."""

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
    mig: tuple[str, ...] | None
    """Names of GPUs that are split by MIG."""
    visible_devices: str | None
    device_order: str | None
    """CUDA_DEVICE_ORDER."""
    torch: str
    torch_cuda: str | None
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
        marks = (self.gpus, self.device_nodes, self.pci_nvidia, self.wsl_libcuda, self.cuda_works)
        if any(marks):
            return True
        # Under WSL the GPU is not on the PCI bus of Linux.
        return None if self.wsl else self.pci_nvidia


def doctor() -> int:
    """Print what was looked at and the first cause.

    Returns 0 where CUDA works or there is no NVIDIA GPU (CPU only), 1 where something keeps a GPU
    from being seen, 3 where it could not be found out.
    """
    facts = collect()
    lines = diagnose(facts)
    text, code = conclude(facts, lines)
    console = Console()
    console.print(_table(lines))
    console.print(text, soft_wrap=True, markup=False, highlight=False)
    return code


def diagnose(facts: Facts) -> list[Line]:
    """All lines, in the order of causes: an earlier problem explains the later ones."""
    return [look(facts) for look in LOOKS]


def conclude(facts: Facts, lines: list[Line]) -> tuple[str, int]:
    """The one-line conclusion and the exit code (see `doctor`)."""
    problems = [line for line in lines if line.state is State.PROBLEM]
    # Nothing can hide a GPU on which torch has just computed.
    hiding = [line for line in problems if line.hides_cuda and not facts.cuda_works]
    minor = [line for line in problems if line not in hiding]
    also = f" Beside that, {minor[0].subject}: {minor[0].seen}." if minor else ""
    if facts.cuda_works:
        return f"CUDA works.{also}", 0
    if hiding:
        first = hiding[0]
        return f"CUDA is not usable. First cause: {first.subject}: {first.seen}.{also}", 1
    if facts.hardware is False:
        return f"CPU only: this machine has no NVIDIA GPU, and nothing is wrong with that.{also}", 0
    unknown = next((line for line in lines if line.state is State.UNKNOWN), lines[0])
    return f"INCONCLUSIVE. First unknown: {unknown.subject}: {unknown.seen}.{also}", 3


def look_at_hardware(facts: Facts) -> Line:
    subject = "NVIDIA hardware"
    if facts.hardware:
        return Line(subject, "an NVIDIA GPU is there", State.OK)
    if facts.hardware is False:
        return Line(subject, "no NVIDIA GPU on the PCI bus", State.OK)
    return Line(subject, "the PCI bus cannot be read here", State.UNKNOWN)


def look_at_container(facts: Facts) -> Line:
    subject = "container"
    if facts.container is None or facts.container == "wsl":
        return Line(subject, "none", State.OK)
    passed = facts.device_nodes or facts.gpus or facts.cuda_works
    if passed:
        return Line(subject, f"{facts.container}, with access to the GPU", State.OK)
    remedy = (
        "request nvidia.com/gpu in the pod's resources"
        if facts.container == "kubernetes"
        else "start it with --gpus all (needs the NVIDIA Container Toolkit on the host)"
    )
    if facts.hardware:
        seen = f"{facts.container}, and the host's GPU was not passed into it"
        return Line(subject, seen, State.PROBLEM, remedy)
    if facts.hardware is False:
        return Line(subject, f"{facts.container}, on a host without NVIDIA GPU", State.OK)
    seen = f"{facts.container}; a GPU of the host, if any, was not passed into it"
    return Line(subject, seen, State.UNKNOWN, remedy)


def look_at_wsl(facts: Facts) -> Line:
    subject = "WSL"
    if not facts.wsl:
        return Line(subject, "not running under WSL", State.OK)
    if facts.wsl_libcuda:
        return Line(subject, f"{WSL_LIBCUDA} is there", State.OK)
    remedy = "install the NVIDIA driver in Windows, none in Linux, then run: wsl --shutdown"
    seen = f"{WSL_LIBCUDA} is missing: Windows shares no NVIDIA driver"
    return Line(subject, seen, State.PROBLEM if facts.pci_nvidia else State.UNKNOWN, remedy)


def look_at_nodes(facts: Facts) -> Line:
    subject = "device nodes"
    if facts.device_nodes:
        return Line(subject, ", ".join(facts.device_nodes), State.OK)
    if facts.gpus:
        return Line(subject, "not needed: the driver answers without them", State.OK)
    remedy = "install or load the NVIDIA driver (modprobe nvidia; with Secure Boot, sign it)"
    return _absent(facts, subject, "no /dev/nvidia* is there", remedy)


def look_at_permissions(facts: Facts) -> Line:
    subject = "permissions"
    if facts.closed_nodes:
        remedy = "join the group that owns the nodes (often 'video' or 'render'), log in again"
        seen = f"{', '.join(facts.closed_nodes)} cannot be opened by this user"
        return Line(subject, seen, State.PROBLEM, remedy)
    if facts.device_nodes:
        return Line(subject, "the device nodes can be opened", State.OK)
    known = facts.hardware is False or facts.cuda_works
    return Line(subject, "no device node to open", State.OK if known else State.UNKNOWN)


def look_at_driver(facts: Facts) -> Line:
    subject = "NVIDIA driver"
    if facts.nvml_reason is None:
        names = ", ".join(gpu.name for gpu in facts.gpus)
        seen = f"{facts.driver or 'version unknown'}, CUDA up to {facts.driver_cuda or '?'}"
        return Line(subject, f"{seen}: {names}", State.OK)
    if facts.cuda_works:
        # NVML only serves the sampling: its absence hides nothing.
        seen = f"CUDA works, but the GPU cannot be sampled: {facts.nvml_reason}"
        remedy = "let the NVML library into the container (NVIDIA_DRIVER_CAPABILITIES=utility)"
        return Line(subject, seen, State.PROBLEM, remedy, hides_cuda=False)
    return _absent(facts, subject, facts.nvml_reason, "install the NVIDIA driver, then reboot")


def look_at_mig(facts: Facts) -> Line:
    subject = "MIG"
    if facts.mig is None:
        known = facts.hardware is False
        seen = "no GPU to split" if known else "the driver does not say whether a GPU is split"
        return Line(subject, seen, State.OK if known else State.UNKNOWN)
    if not facts.mig:
        return Line(subject, "no GPU is split", State.OK)
    seen = f"split: {', '.join(facts.mig)}"
    if facts.cuda_works:
        remedy = "NVML gives no utilisation for a split GPU; judge by throughput"
        return Line(subject, seen, State.PROBLEM, remedy, hides_cuda=False)
    remedy = "create an instance (nvidia-smi mig -cgi … -C) and name it in CUDA_VISIBLE_DEVICES"
    return Line(subject, f"{seen}, and no instance can be used", State.PROBLEM, remedy)


def look_at_visible_devices(facts: Facts) -> Line:
    """CUDA shows devices up to the first entry that is invalid, none where one is repeated."""
    subject = "CUDA_VISIBLE_DEVICES"
    if facts.visible_devices is None:
        order = _in_order(_visible(facts)) if facts.gpus else ""
        return Line(subject, f"not set: all GPUs are visible{order}", State.OK)
    shown = f"'{facts.visible_devices}'"
    if facts.hardware is False:
        return Line(subject, f"{shown}, without effect: no GPU", State.OK)
    seen = _visible(facts)
    fault, hides = seen.fault, seen.hides_all
    if fault is None:
        return Line(subject, shown + _in_order(seen), State.OK)
    remedy = "unset it, or name indices or UUIDs as listed by: nvidia-smi -L"
    if facts.cuda_works and hides:
        return Line(subject, f"{shown}: {fault}, yet CUDA works", State.UNKNOWN, remedy)
    state = State.PROBLEM if facts.hardware else State.UNKNOWN
    return Line(subject, f"{shown}: {fault}", state, remedy, hides_cuda=hides)


def look_at_torch(facts: Facts) -> Line:
    subject = "torch build"
    if facts.torch == "not installed":
        return Line(subject, "torch is not installed", State.PROBLEM, "pip install torch")
    if facts.torch_cuda is not None:
        return Line(subject, f"{facts.torch}, built for CUDA {facts.torch_cuda}", State.OK)
    seen = f"{facts.torch} is built without CUDA"
    remedy = (
        f"pip install --force-reinstall torch --index-url {PYTORCH_INDEX}, "
        f"with a CUDA version the driver supports (up to {facts.driver_cuda or '?'})"
    )
    return _absent(facts, subject, seen, remedy)


def look_at_versions(facts: Facts) -> Line:
    """Within one major version of CUDA an older driver is enough (CUDA 11 and later).

    Source: NVIDIA, CUDA Compatibility, "Minor Version Compatibility".
    """
    subject = "driver and torch"
    if facts.hardware is False:
        return Line(subject, "nothing to compare without a GPU", State.OK)
    if facts.torch_cuda is None or facts.driver_cuda is None:
        seen = "cannot be compared: the CUDA version of one of them is not known"
        return Line(subject, seen, State.UNKNOWN)
    seen = f"driver supports CUDA {facts.driver_cuda}, torch was built for {facts.torch_cuda}"
    if _major(facts.torch_cuda) <= _major(facts.driver_cuda):
        return Line(subject, seen, State.OK)
    remedy = f"update the driver, or install an older build of torch from {PYTORCH_INDEX}"
    if facts.cuda_works:
        return Line(subject, f"{seen}, yet CUDA works (compatibility package)", State.OK)
    return Line(subject, seen, State.PROBLEM, remedy)


def look_at_cuda(facts: Facts) -> Line:
    subject = "torch.cuda"
    if facts.cuda_works:
        return Line(subject, "a small computation ran on the GPU", State.OK)
    seen = facts.cuda_error or "no device is available"
    remedy = next((cure for mark, cure in CURES.items() if mark in seen), DEFAULT_CURE)
    return _absent(facts, subject, seen, remedy)


def look_at_cores(facts: Facts) -> Line:
    subject = "cores"
    seen = f"{facts.cores_usable} usable of {facts.cores_total}"
    if facts.cpu_quota is None or facts.cpu_quota >= facts.cores_total:
        return Line(subject, seen, State.OK, hides_cuda=False)
    seen += f": the cgroup allows {facts.cpu_quota:g}, while os.cpu_count() says more"
    remedy = f"blobdiag counts right; tell other programs (OMP_NUM_THREADS={facts.cores_usable})"
    return Line(subject, seen, State.PROBLEM, remedy, hides_cuda=False)


def look_at_kernel_cache(facts: Facts) -> Line:
    subject = "kernel cache"
    if facts.kernel_cache is None:
        return Line(subject, "could not be tried", State.UNKNOWN, hides_cuda=False)
    if facts.kernel_cache:
        return Line(subject, "compiled kernels can be kept", State.OK, hides_cuda=False)
    seen = "no folder can be written: every start compiles again"
    remedy = "set NUMBA_CACHE_DIR to a folder you can write"
    return Line(subject, seen, State.PROBLEM, remedy, hides_cuda=False)


LOOKS: tuple[Callable[[Facts], Line], ...] = (
    look_at_hardware,
    look_at_container,
    look_at_wsl,
    look_at_nodes,
    look_at_permissions,
    look_at_driver,
    look_at_visible_devices,
    look_at_torch,
    look_at_versions,
    look_at_mig,
    look_at_cuda,
    look_at_cores,
    look_at_kernel_cache,
)


def _absent(facts: Facts, subject: str, seen: str, remedy: str) -> Line:
    """Something CUDA needs is missing: how bad that is depends on whether there is a GPU."""
    if facts.cuda_works:
        return Line(subject, f"{seen}, yet CUDA works", State.OK)
    if facts.hardware:
        return Line(subject, seen, State.PROBLEM, remedy)
    if facts.hardware is False:
        return Line(subject, f"{seen} (none is needed without a GPU)", State.OK)
    return Line(subject, seen, State.UNKNOWN, remedy)


def _major(version: str) -> int:
    return int(version.split(".")[0])


def _visible(facts: Facts) -> Visible:
    variables = {
        "CUDA_VISIBLE_DEVICES": facts.visible_devices,
        "CUDA_DEVICE_ORDER": facts.device_order,
    }
    environment = {name: value for name, value in variables.items() if value is not None}
    return visible(environment, facts.gpus)


def _in_order(seen: Visible) -> str:
    """Which GPU is cuda:0, cuda:1, …, or why that is not known; nothing where there is no GPU."""
    if seen.uuids is None:
        return f" ({seen.reason})"
    return "".join(f"; cuda:{index} is {uuid}" for index, uuid in enumerate(seen.uuids))


def collect() -> Facts:
    """Look at this machine; imports torch, and creates a CUDA context where it can."""
    reader, reason = _nvml()
    try:
        gpus = tuple(reader.gpus) if reader else ()
        driver = (reader.driver, reader.cuda_driver) if reader else (None, None)
        mig = _split_by_mig(reader) if reader else None
    finally:
        if reader:
            reader.close()
    nodes = tuple(_device_nodes())
    works, error = _try_cuda()
    return Facts(
        pci_nvidia=nvidia_on_pci(),
        container=host.container(),
        wsl=host.is_wsl(),
        wsl_libcuda=WSL_LIBCUDA.exists(),
        device_nodes=nodes,
        closed_nodes=tuple(node for node in nodes if not os.access(node, os.R_OK | os.W_OK)),
        gpus=gpus,
        nvml_reason=reason,
        driver=driver[0],
        driver_cuda=driver[1],
        mig=mig,
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        device_order=os.environ.get("CUDA_DEVICE_ORDER"),
        torch=host.package_version("torch"),
        torch_cuda=host.torch_cuda(),
        cuda_works=works,
        cuda_error=error,
        cores_usable=host.usable_cores(),
        cores_total=os.cpu_count() or 1,
        cpu_quota=cgroup_cpu_quota(),
        kernel_cache=_kernel_cache(),
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
    if host.is_wsl() and (root / "dev/dxg").exists():
        yield "/dev/dxg"


def _nvml() -> tuple[NvmlReader | None, str | None]:
    try:
        return open_nvml(), None
    except NvmlUnavailable as error:
        return None, str(error)


def _split_by_mig(reader: NvmlReader) -> tuple[str, ...] | None:
    whole = [gpu for gpu in reader.gpus if gpu.mig is None]
    if any(gpu.mig_enabled is None for gpu in whole):
        return None
    return tuple(gpu.name for gpu in whole if gpu.mig_enabled)


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


def _kernel_cache() -> bool | None:
    try:
        from engine.jit import cache_folder
    except ImportError:
        return None
    return cache_folder() is not None


def _table(lines: list[Line]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("looked at", "state", "seen, and what to do"):
        table.add_column(heading, overflow="fold")
    colours = {State.OK: "green", State.PROBLEM: "red", State.UNKNOWN: "yellow"}
    for line in lines:
        seen = f"{line.seen}\n→ {line.remedy}" if line.remedy else line.seen
        # As Text: errors from outside may hold brackets that rich would take for markup.
        table.add_row(line.subject, Text(line.state, style=colours[line.state]), Text(seen))
    return table
