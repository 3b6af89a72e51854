"""Why CUDA is usable or not: pure functions from facts to lines to a conclusion."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from blobdiag.model.cuda_facts import WSL_LIBCUDA, CudaFacts
from blobdiag.model.visible_gpus import Visible, visible

PYTORCH_INDEX = "https://download.pytorch.org/whl/cuXXX"
# By a part of torch's error text.
REMEDIES = {
    "no kernel image": f"this build has no code for your GPU: install another from {PYTORCH_INDEX}",
    "out of memory": "another process fills the GPU: find it with nvidia-smi and end it",
    "unknown error": "reload the driver (rmmod nvidia_uvm, then modprobe nvidia_uvm) or reboot",
}
BY_THROUGHPUT = "judge by throughput"
DEFAULT_REMEDY = "fix the first problem above, then run doctor again"


class State(StrEnum):
    """Result of one line; what is unknown is never OK."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


class DoctorLine(NamedTuple):
    """One subject that was examined, what was seen, and the remedy if it is a problem."""

    subject: str
    seen: str
    state: State
    remedy: str = ""
    hides_cuda: bool = True
    """Whether a problem with this subject makes CUDA unusable."""


def diagnose(facts: CudaFacts) -> list[DoctorLine]:
    """All lines, in causal order: an earlier problem explains the later ones."""
    return [look(facts) for look in LOOKS]


def conclude(facts: CudaFacts, lines: list[DoctorLine]) -> tuple[str, int]:
    """(one-line conclusion, exit code): 0, 1 if CUDA is unusable, 3 if that is unknown."""
    problems = [line for line in lines if line.state is State.PROBLEM]
    # torch has just computed on the GPU: no problem hides it.
    hiding = [line for line in problems if line.hides_cuda and not facts.cuda_works]
    minor = [line for line in problems if line not in hiding]
    also = f" Also {minor[0].subject}: {minor[0].seen}." if minor else ""
    if facts.cuda_works:
        by = "CUDA" if facts.torch_rocm is None else f"ROCm {facts.torch_rocm}"
        return f"{by} works.{also}", 0
    if hiding:
        first = hiding[0]
        return f"CUDA is not usable. First cause: {first.subject}: {first.seen}.{also}", 1
    if facts.hardware is False and facts.torch_rocm is None:
        return f"CPU only: this machine has no NVIDIA GPU, and nothing is wrong with that.{also}", 0
    unknown = next((line for line in lines if line.state is State.UNKNOWN), lines[0])
    return f"INCONCLUSIVE. First unknown: {unknown.subject}: {unknown.seen}.{also}", 3


def look_at_hardware(facts: CudaFacts) -> DoctorLine:
    subject = "NVIDIA hardware"
    if facts.hardware:
        return DoctorLine(subject, "an NVIDIA GPU is present", State.OK)
    if facts.hardware is False:
        return DoctorLine(subject, "no NVIDIA GPU on the PCI bus", State.OK)
    return DoctorLine(subject, "the PCI bus cannot be read here", State.UNKNOWN)


def look_at_container(facts: CudaFacts) -> DoctorLine:
    subject = "container"
    if facts.container is None or facts.container == "wsl":
        return DoctorLine(subject, "none", State.OK)
    passed = facts.device_nodes or facts.gpus or facts.cuda_works
    if passed:
        return DoctorLine(subject, f"{facts.container}, with access to the GPU", State.OK)
    remedy = (
        "request nvidia.com/gpu in the pod's resources"
        if facts.container == "kubernetes"
        else "start it with --gpus all (needs the NVIDIA Container Toolkit on the host)"
    )
    if facts.hardware:
        seen = f"{facts.container}, and the host's GPU was not passed into it"
        return DoctorLine(subject, seen, State.PROBLEM, remedy)
    if facts.hardware is False:
        return DoctorLine(subject, f"{facts.container}, on a host without NVIDIA GPU", State.OK)
    seen = f"{facts.container}; a GPU of the host, if any, was not passed into it"
    return DoctorLine(subject, seen, State.UNKNOWN, remedy)


def look_at_wsl(facts: CudaFacts) -> DoctorLine:
    subject = "WSL"
    if not facts.wsl:
        return DoctorLine(subject, "not running under WSL", State.OK)
    if facts.wsl_libcuda:
        return DoctorLine(subject, f"{WSL_LIBCUDA} exists", State.OK)
    remedy = "install the NVIDIA driver in Windows, none in Linux, then run: wsl --shutdown"
    seen = f"{WSL_LIBCUDA} is missing: Windows provides no NVIDIA driver"
    return DoctorLine(subject, seen, State.PROBLEM if facts.pci_nvidia else State.UNKNOWN, remedy)


def look_at_nodes(facts: CudaFacts) -> DoctorLine:
    subject = "device nodes"
    if facts.device_nodes:
        return DoctorLine(subject, ", ".join(facts.device_nodes), State.OK)
    if facts.gpus:
        return DoctorLine(subject, "not needed: the driver answers without them", State.OK)
    remedy = "install or load the NVIDIA driver (modprobe nvidia; with Secure Boot, sign it)"
    return _absent(facts, subject, "no /dev/nvidia* exists", remedy)


def look_at_permissions(facts: CudaFacts) -> DoctorLine:
    subject = "permissions"
    if facts.closed_nodes:
        remedy = "join the group that owns the nodes (often 'video' or 'render'), log in again"
        seen = f"{', '.join(facts.closed_nodes)} cannot be opened by this user"
        return DoctorLine(subject, seen, State.PROBLEM, remedy)
    if facts.device_nodes:
        return DoctorLine(subject, "the device nodes can be opened", State.OK)
    known = facts.hardware is False or facts.cuda_works
    return DoctorLine(subject, "no device node to open", State.OK if known else State.UNKNOWN)


def look_at_driver(facts: CudaFacts) -> DoctorLine:
    subject = "NVIDIA driver"
    if facts.nvml_reason is None:
        names = ", ".join(gpu.name for gpu in facts.gpus)
        seen = f"{facts.driver or 'version unknown'}, CUDA up to {facts.driver_cuda or '?'}"
        return DoctorLine(subject, f"{seen}: {names}", State.OK)
    if facts.cuda_works and facts.torch_rocm is not None:
        seen = "the AMD GPU works but cannot be sampled: NVML covers NVIDIA GPUs only"
        return DoctorLine(subject, seen, State.PROBLEM, BY_THROUGHPUT, hides_cuda=False)
    if facts.cuda_works:
        # NVML is needed for sampling only.
        seen = f"CUDA works, but the GPU cannot be sampled: {facts.nvml_reason}"
        remedy = "mount the NVML library in the container (NVIDIA_DRIVER_CAPABILITIES=utility)"
        return DoctorLine(subject, seen, State.PROBLEM, remedy, hides_cuda=False)
    return _absent(facts, subject, facts.nvml_reason, "install the NVIDIA driver, then reboot")


def look_at_mig(facts: CudaFacts) -> DoctorLine:
    subject = "MIG"
    whole = [gpu for gpu in facts.gpus if gpu.mig is None]
    if not whole and facts.hardware is False:
        return DoctorLine(subject, "no GPU to split", State.OK)
    if not whole or any(gpu.mig_enabled is None for gpu in whole):
        return DoctorLine(
            subject, "the driver does not report whether a GPU is split", State.UNKNOWN
        )
    split = [gpu for gpu in whole if gpu.mig_enabled]
    if not split:
        return DoctorLine(subject, "no GPU is split", State.OK)
    seen = f"split: {', '.join(gpu.name for gpu in split)}"
    instances = [gpu for gpu in facts.gpus if gpu.mig is not None]
    if not instances and not facts.cuda_works:
        remedy = "create an instance (nvidia-smi mig -cgi … -C) and name it in CUDA_VISIBLE_DEVICES"
        return DoctorLine(subject, f"{seen}, without an instance", State.PROBLEM, remedy)
    shown = _visible(facts)
    for gpu in instances:
        is_seen = "" if shown.uuids is None or gpu.uuid in shown.uuids else ", hidden"
        seen += f"; {gpu.name} ({gpu.uuid}{is_seen})"
    seen += ": NVML gives no utilisation"
    return DoctorLine(subject, seen, State.PROBLEM, BY_THROUGHPUT, hides_cuda=False)


def look_at_visible_devices(facts: CudaFacts) -> DoctorLine:
    """CUDA shows the devices before the first invalid entry, and none if an entry is repeated."""
    subject = "CUDA_VISIBLE_DEVICES"
    if facts.visible_devices is None:
        order = _in_order(_visible(facts)) if facts.gpus else ""
        return DoctorLine(subject, f"not set: all GPUs are visible{order}", State.OK)
    shown = f"'{facts.visible_devices}'"
    if facts.hardware is False:
        return DoctorLine(subject, f"{shown}, without effect: no GPU", State.OK)
    seen = _visible(facts)
    fault, hides = seen.fault, seen.hides_all
    if fault is None:
        return DoctorLine(subject, shown + _in_order(seen), State.OK)
    remedy = "unset it, or name indices or UUIDs as listed by: nvidia-smi -L"
    if facts.cuda_works and hides:
        return DoctorLine(subject, f"{shown}: {fault}, yet CUDA works", State.UNKNOWN, remedy)
    state = State.PROBLEM if facts.hardware else State.UNKNOWN
    return DoctorLine(subject, f"{shown}: {fault}", state, remedy, hides_cuda=hides)


def look_at_torch(facts: CudaFacts) -> DoctorLine:
    subject = "torch build"
    if facts.torch == "not installed":
        return DoctorLine(subject, "torch is not installed", State.PROBLEM, "pip install torch")
    if facts.torch_cuda is not None:
        return DoctorLine(subject, f"{facts.torch}, built for CUDA {facts.torch_cuda}", State.OK)
    if facts.torch_rocm is not None and not facts.hardware:
        seen = f"{facts.torch}, built for AMD's ROCm {facts.torch_rocm}"
        return DoctorLine(subject, seen, State.OK)
    seen = f"{facts.torch} is built without CUDA"
    remedy = (
        f"pip install --force-reinstall torch --index-url {PYTORCH_INDEX}, "
        f"with a CUDA version the driver supports (up to {facts.driver_cuda or '?'})"
    )
    return _absent(facts, subject, seen, remedy)


def look_at_versions(facts: CudaFacts) -> DoctorLine:
    """Within one major version of CUDA an older driver suffices (CUDA 11 and later).

    Source: NVIDIA, CUDA Compatibility, "Minor Version Compatibility".
    """
    subject = "driver and torch"
    if facts.hardware is False:
        return DoctorLine(subject, "nothing to compare without a GPU", State.OK)
    if facts.torch_cuda is None or facts.driver_cuda is None:
        seen = "cannot be compared: the CUDA version of one of them is not known"
        return DoctorLine(subject, seen, State.UNKNOWN)
    seen = f"driver supports CUDA {facts.driver_cuda}, torch was built for {facts.torch_cuda}"
    if _major(facts.torch_cuda) <= _major(facts.driver_cuda):
        return DoctorLine(subject, seen, State.OK)
    remedy = f"update the driver, or install an older build of torch from {PYTORCH_INDEX}"
    if facts.cuda_works:
        return DoctorLine(subject, f"{seen}, yet CUDA works (compatibility package)", State.OK)
    return DoctorLine(subject, seen, State.PROBLEM, remedy)


def look_at_cuda(facts: CudaFacts) -> DoctorLine:
    subject = "torch.cuda"
    if facts.cuda_works:
        return DoctorLine(subject, "a small computation ran on the GPU", State.OK)
    seen = facts.cuda_error or "no device is available"
    if facts.torch_rocm is not None and not facts.hardware:
        remedy = "run rocminfo; it often helps to join the groups 'video' and 'render'"
        return DoctorLine(subject, f"{seen}, for ROCm {facts.torch_rocm}", State.UNKNOWN, remedy)
    remedy = next((text for part, text in REMEDIES.items() if part in seen), DEFAULT_REMEDY)
    return _absent(facts, subject, seen, remedy)


def look_at_cores(facts: CudaFacts) -> DoctorLine:
    subject = "cores"
    seen = f"{facts.cores_usable} usable of {facts.cores_total}"
    if facts.cpu_quota is None or facts.cpu_quota >= facts.cores_total:
        return DoctorLine(subject, seen, State.OK, hides_cuda=False)
    seen += f": the cgroup allows {facts.cpu_quota:g}, but os.cpu_count() reports more"
    limit = f"OMP_NUM_THREADS={facts.cores_usable}"
    remedy = f"blobdiag uses the right number; limit other programs ({limit})"
    return DoctorLine(subject, seen, State.PROBLEM, remedy, hides_cuda=False)


def look_at_kernel_cache(facts: CudaFacts) -> DoctorLine:
    subject = "kernel cache"
    if facts.kernel_cache is None:
        return DoctorLine(subject, "could not be tested", State.UNKNOWN, hides_cuda=False)
    if facts.kernel_cache:
        return DoctorLine(subject, "compiled kernels can be kept", State.OK, hides_cuda=False)
    seen = "no folder that is yours alone can be written: every start compiles again"
    remedy = "set NUMBA_CACHE_DIR to a folder that only you can write to"
    return DoctorLine(subject, seen, State.PROBLEM, remedy, hides_cuda=False)


LOOKS: tuple[Callable[[CudaFacts], DoctorLine], ...] = (
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


def _absent(facts: CudaFacts, subject: str, seen: str, remedy: str) -> DoctorLine:
    """A line for something that CUDA needs and that is missing; its state depends on the GPU."""
    if facts.cuda_works:
        return DoctorLine(subject, f"{seen}, yet CUDA works", State.OK)
    if facts.hardware:
        return DoctorLine(subject, seen, State.PROBLEM, remedy)
    if facts.hardware is False:
        return DoctorLine(subject, f"{seen} (none is needed without a GPU)", State.OK)
    return DoctorLine(subject, seen, State.UNKNOWN, remedy)


def _major(version: str) -> int:
    return int(version.split(".")[0])


def _visible(facts: CudaFacts) -> Visible:
    variables = {
        "CUDA_VISIBLE_DEVICES": facts.visible_devices,
        "CUDA_DEVICE_ORDER": facts.device_order,
    }
    environment = {name: value for name, value in variables.items() if value is not None}
    return visible(environment, facts.gpus)


def _in_order(seen: Visible) -> str:
    """Which GPU is cuda:0, cuda:1, …, or why that is unknown; empty without a GPU."""
    if seen.uuids is None:
        return f" ({seen.reason})"
    return "".join(f"; cuda:{index} is {uuid}" for index, uuid in enumerate(seen.uuids))
