"""What Linux shows of a process in /proc (proc(5)). A process that is gone answers None or nothing.

A process of another user shows its `stat` only: what cannot be read is None, too.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
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
        """A zombie only waits for its parent to ask how it ended."""
        return self.state not in "ZX"

    @property
    def of_the_kernel(self) -> bool:
        """A thread of the kernel, which has no environment."""
        return _KTHREADD in (self.pid, self.parent_pid)


def started_at(start_ticks: int) -> float:
    """Monotonic seconds: ticks count on while a machine sleeps, and monotonic time does not."""
    booted = time.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + start_ticks / TICKS_PER_SECOND


def pids() -> set[int]:
    """All processes of this PID namespace."""
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}


def stat(pid: int) -> Stat | None:
    """Who a process is and what it has used."""
    content = _read(pid, "stat")
    if content is None:
        return None
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


def arguments(pid: int) -> list[str] | None:
    """Its command line; empty for a zombie and for a kernel thread."""
    content = _read(pid, "cmdline")
    if content is None:
        return None
    return [_text(part) for part in content.removesuffix(b"\0").split(b"\0")] if content else []


def environment(pid: int) -> dict[str, str] | None:
    """What it was started with; a forked one: what its parent was."""
    content = _read(pid, "environ")
    if content is None:
        return None
    pairs = (_text(entry).partition("=") for entry in content.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def libraries(pid: int) -> list[str] | None:
    """Which of torch, jax, tensorflow, onnxruntime and cuda it has mapped."""
    content = _read(pid, "maps")
    if content is None:
        return None
    return [name for name, pattern in _LIBRARIES.items() if pattern.search(content)]


def holds_driver(pid: int) -> bool | None:
    """Whether it holds a device file of NVIDIA's driver open."""
    try:
        return any(target.startswith("/dev/nvidia") for target in _open_files(pid))
    except OSError:
        return None


def _open_files(pid: int) -> Iterator[str]:
    """Raises OSError where the list itself cannot be read."""
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            yield os.readlink(f"{folder}/{name}")
        except OSError:
            continue  # closed meanwhile


def _read(pid: int, name: str) -> bytes | None:
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return None


def _text(content: bytes) -> str:
    """As valid Unicode, which a report must be."""
    return content.decode(errors="replace")
