"""Watches a running program: its processes, the machine under it, and what it counts inside."""

from __future__ import annotations

from pathlib import Path
from time import monotonic, process_time, sleep

from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.sampling.long_trace import LongTrace
from blobdiag.sampling.recorder import Recorder
from blobdiag.targets.program.echoing_source import EchoingSource
from blobdiag.targets.program.process_counts import CountsFolder
from blobdiag.targets.program.process_tree import ProcessTree, ProgramProcess
from blobdiag.targets.program.progress import add_progress

MOST_FOLLOWED = 12
"""Processes that have series of their own; all others are in the totals."""

# A process that has not computed for so long is not worth a series.
LEAST_CPU_SECONDS = 0.5

STRAGGLER_SECONDS = 0.5
"""How long processes that end with the command may take to do so."""


class Watch:
    """Everything that is seen of a program, in memory that does not grow with its hours."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where the program's processes leave their records."""
        self.trace = LongTrace()
        self.recorder = Recorder(self.trace, EchoingSource)
        self.tree: ProcessTree | None = None
        self.counts = CountsFolder(folder)
        self._followed: dict[int, ProgramProcess] = {}
        self._read_at = self._totals_at = self._totals_cpu = 0.0
        self._cpu_before = 0.0

    def begin(self) -> None:
        """The command is about to start: the run's clock begins."""
        self._cpu_before = process_time()
        self.trace.start = self._totals_at = self._read_at = monotonic()

    def follow(self, root: int, mark: tuple[str, str]) -> None:
        """Follow the processes from the command's on; see ProcessTree."""
        self.tree = ProcessTree(root, mark)

    def look(self) -> None:
        """Look at the processes, and take in what was sampled."""
        assert self.tree is not None
        self.tree.scan()
        self._add_totals(self.tree)
        self._follow_busiest(self.tree)
        self.trace.absorb()
        self.trace.forget_processes(monotonic(), set(self._followed))

    def read_inside(self) -> None:
        """Read what the processes counted themselves until now."""
        before, self._read_at = self._read_at, monotonic()
        self.counts.read()
        add_progress(self.trace, self.counts.progress(), before, self._read_at)
        self.trace.absorb()

    @property
    def alive(self) -> list[ProgramProcess]:
        """The program's processes, as last looked at."""
        return [] if self.tree is None else self.tree.alive

    def stragglers(self) -> list[ProgramProcess]:
        """The processes that outlive the command, which has ended."""
        assert self.tree is not None
        deadline = monotonic() + STRAGGLER_SECONDS
        self.tree.scan()
        while self.tree.alive and monotonic() < deadline:
            sleep(0.05)
            self.tree.scan()
        return self.tree.alive

    def cost(self) -> Metric:
        """Our own CPU time since the command started, the sampler's apart."""
        seconds = monotonic() - self.trace.start
        return Metric(
            name="watching's own CPU",
            value=100 * (process_time() - self._cpu_before) / seconds if seconds > 0 else None,
            unit="% of a core",
            reason=None if seconds > 0 else "nothing was watched",
        )

    def _add_totals(self, tree: ProcessTree) -> None:
        now, cpu, alive = monotonic(), tree.cpu_seconds, tree.alive
        percent = 100 * (cpu - self._totals_cpu) / (now - self._totals_at)
        self._totals_at, self._totals_cpu = now, cpu
        self.trace.add(names.PROGRAM_CPU, "%", now, percent)
        self.trace.add(names.PROGRAM_RSS, "MiB", now, sum(process.rss_mib for process in alive))
        self.trace.add(names.PROGRAM_PROCESSES, "processes", now, float(len(alive)))

    def _follow_busiest(self, tree: ProcessTree) -> None:
        """Sample the busiest: while there is room, then in place of idler ones that ended."""
        busiest = sorted(tree.alive, key=lambda p: p.cpu_seconds, reverse=True)
        for process in busiest:
            if process.cpu_seconds < LEAST_CPU_SECONDS or process.pid in self._followed:
                continue
            if len(self._followed) >= MOST_FOLLOWED and not self._make_room(process):
                break
            self._followed[process.pid] = process
            self.recorder.watch([process.pid])

    def _make_room(self, process: ProgramProcess) -> bool:
        ended = [p for p in self._followed.values() if not p.alive]
        idlest = min(ended, key=lambda p: p.cpu_seconds, default=None)
        if idlest is None or idlest.cpu_seconds >= process.cpu_seconds:
            return False
        del self._followed[idlest.pid]
        return True
