"""Reads the load of the host and of watched processes: CPU, memory, threads, context switches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import psutil  # type: ignore[import-untyped]

from blobdiag.model import names
from blobdiag.sampling import proc
from blobdiag.sampling.cgroup import cpu_limit
from blobdiag.sampling.source import Reading, Tier

MIB = 2**20


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
