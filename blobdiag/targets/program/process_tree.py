"""The processes of a program, followed from their start to their exit.

A process belongs to the program if its parent did, or if its environment has the program's tag:
so a daemon that was forked twice, whose parent is gone, is still known. Only a process that is
both, orphaned and started with another environment, before the first scan that could see it, is
missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic

from blobdiag.sampling import proc

MOST_EXITED = 400
"""Exited processes that are kept; of more, those that computed longest."""

# What is mapped and open is read again whenever a process is this many times older: often while
# it is young and loads its libraries, seldom in the hours after.
AGE_FACTOR = 1.5
LEAST_AGE_S = 0.2


@dataclass
class ProgramProcess:
    """One process of the program, as of the last scan."""

    pid: int
    start_ticks: int
    parent_pid: int
    started: float
    """Monotonic seconds."""
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] | None = None
    """None: it could not be read."""
    ended: float | None = None
    """When it was first found to have exited, in monotonic seconds."""
    cpu_seconds: float = 0.0
    rss_mib: float = 0.0
    peak_rss_mib: float = 0.0
    most_threads: int = 1
    libraries: set[str] = field(default_factory=set)
    driver_opened: bool | None = None
    files_read_at: float = float("-inf")
    """When its files were last read."""

    @property
    def alive(self) -> bool:
        return self.ended is None


class ProcessTree:
    """The processes of one program, from its first one on."""

    def __init__(self, root: int, tag: tuple[str, str]) -> None:
        """`root` is the PID of the command, `tag` a variable of its environment and its value."""
        self.root = root
        self.left_out = 0
        """Exited processes that are no longer kept."""
        self.exited_cpu_seconds = 0.0
        """Of all that exited."""
        self._tag = tag
        self._alive: dict[int, ProgramProcess] = {}
        self._exited: list[ProgramProcess] = []
        self._others: set[int] = set()
        """PIDs of the last scan that are not the program's: they are not read again."""
        self._changing: set[int] = set()
        """PIDs of the last scan that were just becoming another program (exec): they show no
        environment for a moment, and are read again."""

    @property
    def alive(self) -> list[ProgramProcess]:
        return list(self._alive.values())

    def __iter__(self) -> Iterator[ProgramProcess]:
        """All that are kept, in order of their start."""
        yield from sorted([*self._exited, *self._alive.values()], key=lambda p: p.started)

    @property
    def cpu_seconds(self) -> float:
        """Of all processes there were, as last seen."""
        return self.exited_cpu_seconds + sum(p.cpu_seconds for p in self._alive.values())

    def scan(self) -> None:
        """Read every process of the machine that is new, and all of the program's."""
        now = monotonic()
        present = proc.pids()
        for process in self.alive:
            stat = proc.stat(process.pid) if process.pid in present else None
            if stat is None or stat.start_ticks != process.start_ticks or not stat.alive:
                self._exit(process, stat, now)
            else:
                self._update(process, stat, now)
        self._others &= present
        new = sorted(present - self._others - self._alive.keys())
        self._changing.clear()
        # A child may have a lower number than its parent, where numbers started again.
        while joined := [pid for pid in new if self._joins(pid, now)]:
            new = [pid for pid in new if pid not in joined]
        self._others.update(set(new) - self._changing)

    def _joins(self, pid: int, now: float) -> bool:
        """Whether a new process is the program's; it is added if so."""
        stat = proc.stat(pid)
        if stat is None or not stat.alive:
            return False
        environment = None
        if pid != self.root and stat.parent_pid not in self._alive:
            environment = proc.environment(pid)
            name, value = self._tag
            if environment == {} and not stat.of_the_kernel:
                self._changing.add(pid)
            if environment is None or environment.get(name) != value:
                return False
        process = ProgramProcess(
            pid=pid,
            start_ticks=stat.start_ticks,
            parent_pid=stat.parent_pid,
            started=proc.started_at(stat.start_ticks),
            environment=environment,
        )
        self._alive[pid] = process
        self._update(process, stat, now)
        return True

    def _update(self, process: ProgramProcess, stat: proc.Stat, now: float) -> None:
        process.cpu_seconds = stat.cpu_seconds
        process.rss_mib = stat.rss_mib
        process.peak_rss_mib = max(process.peak_rss_mib, stat.rss_mib)
        process.most_threads = max(process.most_threads, stat.threads)
        age, age_then = now - process.started, process.files_read_at - process.started
        if age >= AGE_FACTOR * age_then + LEAST_AGE_S:
            _read_files(process)
            process.files_read_at = now

    def _exit(self, process: ProgramProcess, stat: proc.Stat | None, now: float) -> None:
        """`stat` is that of the zombie, if it still is one: it has the last CPU time."""
        if stat is not None and stat.start_ticks == process.start_ticks:
            process.cpu_seconds = stat.cpu_seconds
        process.ended = now
        process.rss_mib = 0.0
        self.exited_cpu_seconds += process.cpu_seconds
        del self._alive[process.pid]
        self._exited.append(process)
        if len(self._exited) >= 2 * MOST_EXITED:
            self._exited.sort(key=lambda p: (p.pid == self.root, p.cpu_seconds), reverse=True)
            self.left_out += len(self._exited) - MOST_EXITED
            del self._exited[MOST_EXITED:]


def _read_files(process: ProgramProcess) -> None:
    """What may change when it runs another program or loads a library."""
    pid = process.pid
    process.arguments = proc.arguments(pid) or process.arguments
    process.environment = proc.environment(pid) or process.environment
    process.libraries.update(proc.libraries(pid) or ())
    held = proc.holds_driver(pid)
    if held is not None:
        process.driver_opened = held or bool(process.driver_opened)
