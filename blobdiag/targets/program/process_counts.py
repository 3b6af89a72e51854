"""What processes say of themselves, kept when they have ended, in space that stays bounded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import monotonic

from blobdiag.model.report import Metric
from blobdiag.sampling import proc
from blobdiag.targets.program.records import NAME, Identity, Inside, Mark, read_marks, read_records

MOST_ENDED = 400
"""Accounts of processes that ended; of more, those that called most."""

MOST_MARKS = 20_000
"""Phases of processes that ended; of more, the longest half."""


DEAR_PERCENT = 2.0
"""Counting that takes more of the calls' time can be had for less."""


class Accounts:
    """The records in a folder; those of processes that ended are read once more and removed."""

    def __init__(self, folder: Path) -> None:
        self.insides: list[Inside] = []
        self.marks: list[Mark] = []
        self.ended: dict[Identity, float] = {}
        """When a process was first seen to have ended, in monotonic seconds."""
        self._folder = folder
        self._leaving = folder / "ended"
        self._leaving.mkdir()
        self._ended: list[Inside] = []
        self._ended_marks: list[Mark] = []
        self._forgotten: Counter[str] = Counter()
        """Progress of processes whose accounts are no longer kept."""

    def read(self) -> None:
        """Read what was counted until now."""
        self._take_leave()
        self.insides = [*self._ended, *read_records(self._folder)]
        self.marks = [*self._ended_marks, *read_marks(self._folder)]

    def lose_sight(self) -> None:
        """What was read may not be all: no process counts as counted to its end."""
        self.insides = [
            inside._replace(reason=inside.reason or "watching failed before its end")
            for inside in self.insides
        ]

    def progress(self) -> dict[str, float]:
        """Each counter's total, over all processes there were."""
        total = self._forgotten.copy()
        for inside in self.insides:
            total.update(inside.progress)
        return dict(total)

    def cost(self, every: int) -> Metric:
        """What counting 1 of `every` calls took, beside the calls it was measured at."""
        calls = [module for inside in self.insides for module in inside.modules]
        seconds = sum(module.host_seconds for module in calls)
        own = sum(inside.own_seconds for inside in self.insides)
        share = 100 * own / seconds / every if seconds else None
        reason = "without what it takes to notice that a module's call lies inside another"
        if share is None:
            reason = "no call was timed"
        elif share > DEAR_PERCENT:
            reason += f"; --count-every {every * 16} takes less"
        return Metric(
            name="counting's own time", value=share, unit="% of the calls'", reason=reason
        )

    def _take_leave(self) -> None:
        for path in self._folder.iterdir():
            named = NAME.fullmatch(path.name)
            # Of a process in another namespace /proc does not tell whether it has ended.
            if named and not named[2] and _ended(*map(int, path.name.split(".")[:2])):
                path.rename(self._leaving / path.name)
        leaving = read_records(self._leaving)
        self._ended += leaving
        self.ended |= {inside.identity: monotonic() for inside in leaving}
        self._ended_marks += read_marks(self._leaving)
        for path in self._leaving.iterdir():
            path.unlink()
        if len(self._ended) > MOST_ENDED:
            self._ended.sort(key=_calls, reverse=True)
            for inside in self._ended[MOST_ENDED:]:
                self._forgotten.update(inside.progress)
                del self.ended[inside.identity]
            del self._ended[MOST_ENDED:]
        if len(self._ended_marks) > MOST_MARKS:
            self._ended_marks.sort(key=lambda m: (m.end or m.start) - m.start, reverse=True)
            del self._ended_marks[MOST_MARKS // 2 :]


def _ended(pid: int, start_ticks: int) -> bool:
    stat = proc.stat(pid)
    return stat is None or stat.start_ticks != start_ticks or not stat.alive


def _calls(inside: Inside) -> int:
    return sum(module.calls for module in inside.modules) + inside.modules_left_out
