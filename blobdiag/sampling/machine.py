"""What this machine is: usable cores, container, CPU, memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from blobdiag.model.machine import Machine
from blobdiag.sampling import proc
from blobdiag.sampling.cgroup import cgroup_cpu_quota

GIB = 2**30


def affinity() -> int:
    """Cores that this process may be scheduled on; all of them where the system has no affinity."""
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
