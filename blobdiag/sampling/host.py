"""Reads the host: cores, the load of watched processes, and what the machine is.

Nothing here needs torch to be imported: its version is read from its files.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from blobdiag import __version__
from blobdiag.model import names
from blobdiag.model.report import Machine, Software
from blobdiag.sampling import proc
from blobdiag.sampling.cgroup import cgroup_cpu_quota, cpu_limit
from blobdiag.sampling.source import Reading, Tier

MIB = 2**20
GIB = 2**30


class HostReader:
    """CPU load of the whole system, and the load of the processes passed to `watch`.

    - HOST: `host/cpu` in % of all cores of the host (a container's quota is not considered);
      `process/<pid>/cpu` in % of one core since the previous reading, `rss`, `threads`.
    - SLOW: `process/<pid>/voluntary_switches` and `involuntary_switches`: context switches of all
      threads now alive, counted from their start. `cgroup/throttled_periods`: CPU periods in
      which this process's control group had used up its quota, and `cgroup/throttled_seconds`:
      time it was stopped for that, both counted from the group's start.

    Units are those of `names.unit`.
    """

    def __init__(self) -> None:
        self.unsupported: dict[str, str] = {}
        self._processes: dict[int, psutil.Process] = {}
        self._events: list[str] = []
        self._cpu_limit = cpu_limit()
        # psutil measures since the previous call, so the first answer is a meaningless 0.0.
        psutil.cpu_percent()

    def watch(self, pids: Iterable[int]) -> None:
        """Add processes; one that is already gone is an event, not an error."""
        for pid in set(pids) - self._processes.keys():
            try:
                process = psutil.Process(pid)
                process.cpu_percent()
            except psutil.Error:
                self._events.append(f"process {pid} was gone before it could be watched")
            else:
                self._processes[pid] = process

    def read(self, tier: Tier) -> Iterator[Reading]:
        """Read one tier; a process that vanished is dropped and becomes an event."""
        if tier is Tier.HOST:
            yield Reading(names.HOST_CPU, psutil.cpu_percent())
            yield from self._read_each(self._load)
        elif tier is Tier.SLOW:
            yield from self._read_each(self._switches)
            yield from self._throttling()

    def take_events(self) -> list[str]:
        """Processes that vanished since the last call, one line each."""
        events, self._events = self._events, []
        return events

    def _throttling(self) -> Iterator[Reading]:
        counters = self._cpu_limit.throttling() if self._cpu_limit else None
        if counters is None:
            reason = "the kernel does not count it" if self._cpu_limit else "no CPU quota is set"
            series = (names.THROTTLED_PERIODS, names.THROTTLED_SECONDS)
            self.unsupported |= dict.fromkeys(series, reason)
            return
        yield Reading(names.THROTTLED_PERIODS, counters.periods)
        yield Reading(names.THROTTLED_SECONDS, counters.seconds)

    def _read_each(self, read: Callable[[psutil.Process], list[Reading]]) -> Iterator[Reading]:
        for pid, process in list(self._processes.items()):
            try:
                yield from read(process)
            except psutil.NoSuchProcess:
                del self._processes[pid]
                self._events.append(f"process {pid} ended")
            except psutil.AccessDenied:
                del self._processes[pid]
                series = (names.process(pid, metric) for metric in names.PROCESS_UNITS)
                self.unsupported |= dict.fromkeys(series, "access denied by the operating system")

    def _load(self, process: psutil.Process) -> list[Reading]:
        with process.oneshot():
            # A zombie still answers, with zeros.
            if process.status() == psutil.STATUS_ZOMBIE:
                raise psutil.ZombieProcess(process.pid)
            return [
                Reading(names.process(process.pid, "cpu"), process.cpu_percent()),
                Reading(names.process(process.pid, "rss"), process.memory_info().rss / MIB),
                Reading(names.process(process.pid, "threads"), float(process.num_threads())),
            ]

    def _switches(self, process: psutil.Process) -> list[Reading]:
        voluntary, involuntary = _context_switches(process)
        series = names.process(process.pid, "involuntary_switches")
        readings = [Reading(names.process(process.pid, "voluntary_switches"), float(voluntary))]
        if psutil.WINDOWS:
            reason = "Windows counts voluntary and involuntary switches together"
            self.unsupported[series] = reason
        else:
            readings.append(Reading(series, float(involuntary)))
        return readings


def _context_switches(process: psutil.Process) -> tuple[int, int]:
    """(voluntary, involuntary) of all threads; psutil has only the first thread's on Linux."""
    counted = proc.context_switches(process.pid) if psutil.LINUX else None
    if counted is None:
        switches = process.num_ctx_switches()
        return switches.voluntary, switches.involuntary
    return counted


def affinity() -> int:
    """Cores that this process may be scheduled on; all of them where the system has no say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    if psutil.WINDOWS:
        return len(psutil.Process().cpu_affinity() or ())
    return os.cpu_count() or 1


def usable_cores() -> int:
    """Whole cores this process may use: affinity ∩ cgroup quota, rounded down, at least 1."""
    quota = cgroup_cpu_quota()
    cores = affinity()
    return max(1, cores if quota is None else min(cores, int(quota)))


def container(
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    release: str | None = None,
) -> str | None:
    """'kubernetes', 'docker', 'podman', 'wsl', another name from $container, or None.

    `release` is the kernel's, this machine's where None. By the marks each leaves: kubelet's
    variable, /.dockerenv, /run/.containerenv, group names, and Microsoft's kernel name.
    """
    groups = " ".join(proc.cgroup_lines(root))
    if "KUBERNETES_SERVICE_HOST" in environment or "kubepods" in groups:
        return "kubernetes"
    if (root / ".dockerenv").exists() or "/docker" in groups:
        return "docker"
    if (root / "run/.containerenv").exists() or "libpod" in groups:
        return "podman"
    if environment.get("container"):
        return environment["container"]
    return "wsl" if is_wsl(release) else None


def is_wsl(release: str | None = None) -> bool:
    """Whether this is Windows' Linux, by its kernel's name; true in a container on it as well."""
    return "microsoft" in (platform.release() if release is None else release).lower()


def machine(label: str | None = None) -> Machine:
    """This machine as a report shows it: no host name, user or path unless `label` is one."""
    return Machine(
        label=label,
        platform=platform.platform(),
        cpu=_cpu_name(),
        cores_usable=usable_cores(),
        cores_total=os.cpu_count() or 1,
        cgroup_cpu_quota=cgroup_cpu_quota(),
        memory_gib=psutil.virtual_memory().total / GIB,
        container=container(),
    )


def _cpu_name() -> str:
    return proc.cpu_model() or platform.processor() or platform.machine() or "unknown"


def software(driver: str | None = None) -> Software:
    """Versions of what decides the speed; `driver` is the GPU driver's, which NVML knows.

    `git_commit` is that of the folder the command runs in, None outside a repository.
    """
    return Software(
        blobdiag=__version__,
        python=platform.python_version(),
        torch=package_version("torch"),
        torch_cuda=torch_cuda(),
        numpy=package_version("numpy"),
        numba=package_version("numba"),
        driver=driver,
        git_commit=_git_commit(),
    )


def package_version(package: str) -> str:
    """A package's installed version, or 'not installed'; the package is not imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def torch_cuda() -> str | None:
    """The CUDA version torch was built for, None: CPU build, AMD build, or no torch."""
    return _torch_version("cuda")


def torch_rocm() -> str | None:
    """The ROCm version torch was built for, None: any other build, or no torch."""
    return _torch_version("hip")


def other_gpu() -> str | None:
    """Why a GPU that torch may compute on is none of NVML's; None where torch is for NVIDIA's."""
    rocm = torch_rocm()
    if rocm is not None:
        return f"torch is built for AMD GPUs (ROCm {rocm}), and NVML samples only NVIDIA's"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "this is an Apple GPU, and NVML samples only NVIDIA's"
    return None


def _torch_version(name: str) -> str | None:
    """`torch.version.<name>`, from the file unless torch is loaded: to import it takes seconds."""
    if "torch" in sys.modules:
        return getattr(sys.modules["torch"].version, name, None)
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    return _assigned(name, "\n".join(proc.read_lines(Path(spec.origin).parent / "version.py")))


def _assigned(name: str, source: str) -> str | None:
    """The string constant that a module's source assigns to `name`, else None."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        value = getattr(node, "value", None)
        if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None


def _git_commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        answer = subprocess.run(
            [git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
