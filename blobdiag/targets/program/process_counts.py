"""What a program's processes counted, kept when they have exited, in space that stays bounded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import monotonic

from blobdiag.model.base import Metric
from blobdiag.sampling import proc
from blobdiag.targets.program.records import (
    NAME,
    Identity,
    PhaseMark,
    ProcessCounts,
    read_records,
)

MOST_EXITED = 400
"""Exited processes whose counts are kept; of more, those that called most."""

MOST_MARKS = 20_000
"""Phases of exited processes; of more, the longest half."""

COSTLY_PERCENT = 2.0
"""Where counting takes more of the calls' time, a higher --count-every is suggested."""


class CountsFolder:
    """The records in a folder; those of exited processes are read once more and removed."""

    def __init__(self, folder: Path) -> None:
        self.processes: list[ProcessCounts] = []
        self.marks: list[PhaseMark] = []
        self.ended: dict[Identity, float] = {}
        """When a process was first seen to have exited, in monotonic seconds."""
        self._folder = folder
        self._exited_folder = folder / "exited"
        self._exited_folder.mkdir()
        self._exited: list[ProcessCounts] = []
        self._exited_marks: list[PhaseMark] = []
        self._dropped: Counter[str] = Counter()
        """Progress of processes whose counts are no longer kept."""

    def read(self) -> None:
        """Read what was counted until now."""
        self._collect_exited()
        running = read_records(self._folder)
        self.processes = [*self._exited, *running.processes]
        self.marks = [*self._exited_marks, *running.marks]

    def mark_incomplete(self) -> None:
        """Say of every process that its counts may lack its last part."""
        self.processes = [
            counts._replace(reason=counts.reason or "watching failed before its end")
            for counts in self.processes
        ]

    def progress(self) -> dict[str, float]:
        """Each counter's total, over all processes there were."""
        total = self._dropped.copy()
        for counts in self.processes:
            total.update(counts.progress)
        return dict(total)

    def cost(self, every: int) -> Metric:
        """The time that counting 1 of `every` calls took, in % of the time of the calls."""
        calls = [module for counts in self.processes for module in counts.modules]
        seconds = sum(module.host_seconds for module in calls)
        own = sum(counts.own_seconds for counts in self.processes)
        share = 100 * own / seconds / every if seconds else None
        reason = "without what it takes to notice that a module's call lies inside another"
        if share is None:
            reason = "no call was timed"
        elif share > COSTLY_PERCENT:
            reason += f"; --count-every {every * 16} takes less"
        return Metric(
            name="counting's own time", value=share, unit="% of the calls'", reason=reason
        )

    def _collect_exited(self) -> None:
        for path in self._folder.iterdir():
            named = NAME.fullmatch(path.name)
            # /proc does not show whether a process of another PID namespace has exited.
            if named and not named[2] and _has_exited(*map(int, path.name.split(".")[:2])):
                path.rename(self._exited_folder / path.name)
        exited = read_records(self._exited_folder)
        self._exited += exited.processes
        self._exited_marks += exited.marks
        self.ended |= {counts.identity: monotonic() for counts in exited.processes}
        for path in self._exited_folder.iterdir():
            path.unlink()
        self._drop_surplus()

    def _drop_surplus(self) -> None:
        if len(self._exited) > MOST_EXITED:
            self._exited.sort(key=_calls, reverse=True)
            for counts in self._exited[MOST_EXITED:]:
                self._dropped.update(counts.progress)
                del self.ended[counts.identity]
            del self._exited[MOST_EXITED:]
        if len(self._exited_marks) > MOST_MARKS:
            self._exited_marks.sort(key=lambda m: (m.end or m.start) - m.start, reverse=True)
            del self._exited_marks[MOST_MARKS // 2 :]


def _has_exited(pid: int, start_ticks: int) -> bool:
    stat = proc.stat(pid)
    return stat is None or stat.start_ticks != start_ticks or not stat.alive


def _calls(counts: ProcessCounts) -> int:
    return sum(module.calls for module in counts.modules) + counts.modules_left_out
