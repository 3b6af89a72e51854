"""The CPU quota of this process's control group (Linux), and how often it throttled the group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

from blobdiag.sampling.proc import cgroup_lines, read_lines


class Throttling(NamedTuple):
    """Since the group was made: periods in which its quota ran out, seconds stopped for that."""

    periods: float
    seconds: float


class CpuLimit(NamedTuple):
    """A group's quota in cores, and the file that counts how often it ran out."""

    cores: float
    stat: Path

    def throttling(self) -> Throttling | None:
        """None where the kernel does not count. v2 has microseconds, v1 nanoseconds (cpu.stat)."""
        counters = dict(words for line in read_lines(self.stat) if len(words := line.split()) == 2)
        periods = counters.get("nr_throttled")
        micro, nano = counters.get("throttled_usec"), counters.get("throttled_time")
        if periods is None or (micro is None and nano is None):
            return None
        seconds = int(micro) / 1e6 if micro is not None else int(nano or 0) / 1e9
        return Throttling(float(periods), seconds)


def cpu_limit(root: Path = Path("/")) -> CpuLimit | None:
    """The strictest limit from the process's own group up to the mount, None: none was found.

    v2: `cpu.max`; v1: `cpu.cfs_quota_us` ÷ `cpu.cfs_period_us` (Linux,
    Documentation/admin-guide/cgroup-v2 and Documentation/scheduler/sched-bwc). Inside a container
    the path may not exist below the mount; then only the mount itself has a limit to read.
    """
    limits = [
        CpuLimit(cores, folder / "cpu.stat") for folder, cores in _quotas(root) if cores is not None
    ]
    return min(limits, key=lambda limit: limit.cores, default=None)


def cgroup_cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores that the control group of this process may use, None: no limit found."""
    limit = cpu_limit(root)
    return None if limit is None else limit.cores


def usable_memory(root: Path = Path("/")) -> float:
    """Bytes that this process may use: the machine's, or fewer where its control group has a limit.

    v2: `memory.max`; v1: `memory.limit_in_bytes`.
    """
    mount = root / "sys/fs/cgroup"
    limits = [float(psutil.virtual_memory().total)]
    for line in cgroup_lines(root):
        _, controllers, path = line.split(":", 2)
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        if not controllers or "memory" in controllers.split(","):
            for base in (mount, mount / "unified", mount / "memory"):
                texts = (" ".join(read_lines(one / file)) for one in _upwards(base, path))
                limits += [float(text) for text in texts if text.isdecimal()]
    return min(limits)


def _quotas(root: Path) -> Iterator[tuple[Path, float | None]]:
    mount = root / "sys/fs/cgroup"
    for line in cgroup_lines(root):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            # Where v1 is mounted too, v2 lies one folder deeper.
            for base in (mount, mount / "unified"):
                yield from ((folder, _quota_v2(folder)) for folder in _upwards(base, path))
        elif "cpu" in controllers.split(","):
            for base in (mount / "cpu", mount / controllers):
                yield from ((folder, _quota_v1(folder)) for folder in _upwards(base, path))


def _upwards(base: Path, path: str) -> list[Path]:
    folder = base / path.lstrip("/")
    # A path with .. leads out of the mount: a group outside this container's namespace.
    inside = ".." not in folder.parts
    return [folder, *(p for p in folder.parents if p.is_relative_to(base))] if inside else [base]


def _quota_v2(folder: Path) -> float | None:
    words = " ".join(read_lines(folder / "cpu.max")).split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _quota_v1(folder: Path) -> float | None:
    quota = " ".join(read_lines(folder / "cpu.cfs_quota_us"))
    period = " ".join(read_lines(folder / "cpu.cfs_period_us"))
    # -1 means unlimited.
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None
