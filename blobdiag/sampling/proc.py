"""The one reader of /proc (proc(5), Linux): a pure parser for each file, functions to read it.

A process that is gone gives None or nothing. One of another user shows its `stat` only: what
cannot be read is None, too.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Windows has no sysconf, and no /proc either: the module can be imported there.
_sysconf = getattr(os, "sysconf", {"SC_CLK_TCK": 100, "SC_PAGE_SIZE": 4096}.__getitem__)
TICKS_PER_SECOND: int = _sysconf("SC_CLK_TCK")
PAGE_BYTES: int = _sysconf("SC_PAGE_SIZE")
MIB = 2**20

_KTHREADD = 2
"""The parent of the kernel's own threads."""

# A library that is named so in a file's path, and what it is.
_LIBRARIES = {
    "torch": re.compile(rb"/libtorch[_.\w]*\.so"),
    "jax": re.compile(rb"/(jaxlib/|xla_extension[.\w]*\.so)"),
    "tensorflow": re.compile(rb"/(libtensorflow|_pywrap_tensorflow)[_.\w]*\.so"),
    "onnxruntime": re.compile(rb"/(libonnxruntime|onnxruntime_pybind11)[_.\w]*\.so"),
    "cuda": re.compile(rb"/libcuda\.so"),
}


class Stat(NamedTuple):
    """A line of /proc/PID/stat."""

    pid: int
    parent_pid: int
    state: str
    """One letter: R, S, D, T, Z, …"""
    start_ticks: int
    """Clock ticks since boot."""
    cpu_seconds: float
    threads: int
    rss_mib: float

    @property
    def alive(self) -> bool:
        """A zombie has exited; its parent has not yet collected its exit code."""
        return self.state not in "ZX"

    @property
    def of_the_kernel(self) -> bool:
        """A thread of the kernel, which has no environment."""
        return _KTHREADD in (self.pid, self.parent_pid)


def parse_stat(pid: int, content: bytes) -> Stat:
    """/proc/PID/stat."""
    # The name, in brackets, may hold anything.
    fields = content[content.rindex(b")") + 2 :].split()
    return Stat(
        pid=pid,
        parent_pid=int(fields[1]),
        state=fields[0].decode(),
        start_ticks=int(fields[19]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
        threads=int(fields[17]),
        rss_mib=int(fields[21]) * PAGE_BYTES / MIB,
    )


def parse_arguments(content: bytes) -> list[str]:
    """/proc/PID/cmdline."""
    return [_text(part) for part in content.removesuffix(b"\0").split(b"\0")] if content else []


def parse_environment(content: bytes) -> dict[str, str]:
    """/proc/PID/environ."""
    pairs = (_text(entry).partition("=") for entry in content.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def parse_libraries(content: bytes) -> list[str]:
    """/proc/PID/maps: which of torch, jax, tensorflow, onnxruntime and cuda are mapped."""
    return [name for name, pattern in _LIBRARIES.items() if pattern.search(content)]


def parse_context_switches(content: bytes) -> tuple[int, int]:
    """/proc/PID/task/TID/status: (voluntary, involuntary), the last two lines."""
    _, voluntary, involuntary, _ = content.rsplit(b"\n", 3)
    return int(voluntary.split()[1]), int(involuntary.split()[1])


def started_at(start_ticks: int) -> float:
    """Monotonic seconds: ticks count on while a machine sleeps, and monotonic time does not."""
    booted = time.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + start_ticks / TICKS_PER_SECOND


def pids() -> set[int]:
    """All processes of this PID namespace."""
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}


def stat(pid: int) -> Stat | None:
    """Who a process is and what it has used."""
    content = _read(f"/proc/{pid}/stat")
    return None if content is None else parse_stat(pid, content)


def arguments(pid: int) -> list[str] | None:
    """Its command line; empty for a zombie and for a kernel thread."""
    content = _read(f"/proc/{pid}/cmdline")
    return None if content is None else parse_arguments(content)


def environment(pid: int) -> dict[str, str] | None:
    """What it was started with; a forked one: what its parent was."""
    content = _read(f"/proc/{pid}/environ")
    return None if content is None else parse_environment(content)


def libraries(pid: int) -> list[str] | None:
    """Which of torch, jax, tensorflow, onnxruntime and cuda it has mapped."""
    content = _read(f"/proc/{pid}/maps")
    return None if content is None else parse_libraries(content)


def context_switches(pid: int) -> tuple[int, int] | None:
    """(voluntary, involuntary) of all its threads; None where there is no such folder.

    The kernel counts them by thread: /proc/PID/status has those of the first thread only.
    """
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    contents = (_read(f"/proc/{pid}/task/{thread}/status") for thread in threads)
    counts = [parse_context_switches(content) for content in contents if content]
    return sum(count[0] for count in counts), sum(count[1] for count in counts)


def holds_driver(pid: int) -> bool | None:
    """Whether it holds a device file of NVIDIA's driver open."""
    try:
        return any(target.startswith("/dev/nvidia") for target in _open_files(pid))
    except OSError:
        return None


def cgroup_lines(root: Path = Path("/")) -> list[str]:
    """The control groups of this process, a line for each hierarchy (cgroups(7))."""
    return read_lines(root / "proc/self/cgroup")


def cpu_model(root: Path = Path("/")) -> str | None:
    """The CPU's name, where /proc/cpuinfo has it."""
    for line in read_lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return None


def read_lines(path: Path) -> list[str]:
    """Any text file's lines, none where it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _open_files(pid: int) -> Iterator[str]:
    """Raises OSError where the list itself cannot be read."""
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            yield os.readlink(f"{folder}/{name}")
        except OSError:
            continue  # closed meanwhile


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return None


def _text(content: bytes) -> str:
    """As valid Unicode, which a report must be."""
    return content.decode(errors="replace")
