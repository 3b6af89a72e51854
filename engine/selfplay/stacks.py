"""Who holds the device up: where this process's threads stand while the device waits for them.

A thread of its own looks at them. `sys._current_frames` costs microseconds and needs nothing of the
threads that are looked at but to say when they are at work; waking up costs ten times as much, so
it looks less often while nothing waits.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from time import monotonic, sleep, thread_time
from types import CodeType, FrameType
from typing import NamedTuple

HELD_SECONDS, PERIOD_SECONDS = 0.02, 0.05
"""Between two looks, while something waits and while nothing does."""

_PATHS = sysconfig.get_paths()
_LIBRARY = (_PATHS["stdlib"], _PATHS["platstdlib"])
_PACKAGES = (_PATHS["purelib"], _PATHS["platlib"])
"""site-packages lie below the standard library, and are none of it."""


class Place(NamedTuple):
    """A line of Python, and what the process was about when a thread stood there."""

    phase: str
    where: str
    """file.py:LINE function"""


class StackWatch:
    """Sums, by place, the seconds in which threads stood while the device waited for them.

    `held()` is called at every look, in the watching thread: it gives (ident, phase) of each
    thread that the device waits for at that moment.

    A look speaks for all of the time since the one before. So a thread that keeps the interpreter's
    lock inside one long C call, and with it the watch from looking, is charged with all of that
    call: the lock is handed over right behind it, at the same line.
    """

    def __init__(self, held: Callable[[], Iterable[tuple[int, str]]]) -> None:
        self.seconds: dict[Place, float] = {}
        self.cpu_seconds = 0.0
        """The watch's own cost."""
        self._held = held
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="stack-watch", daemon=True)

    def start(self) -> None:
        """Begin to look; again: nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """End the watch; what it saw stays."""
        self._ended = True
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        last, seen = monotonic(), False
        while not self._ended:
            sleep(HELD_SECONDS if seen else PERIOD_SECONDS)
            now, seen = monotonic(), False
            for place in self._look():
                seen = True
                self.seconds[place] = self.seconds.get(place, 0.0) + now - last
            last = now
            self.cpu_seconds = thread_time()

    def _look(self) -> list[Place]:
        held = list(self._held())
        if not held:
            return []
        frames = sys._current_frames()
        return [Place(phase, where(frames[ident])) for ident, phase in held if ident in frames]


def where(frame: FrameType) -> str:
    """The innermost line outside the standard library: who waits in it, or has it work."""
    caller: FrameType | None = frame
    while caller is not None and _is_library(caller.f_code):
        caller = caller.f_back
    shown = caller or frame
    file, function = _names(shown.f_code)
    return f"{file}:{shown.f_lineno} {function}"


@cache
def _names(code: CodeType) -> tuple[str, str]:
    return Path(code.co_filename).name, code.co_qualname


@cache
def _is_library(code: CodeType) -> bool:
    file = code.co_filename
    return file.startswith("<frozen") or (
        file.startswith(_LIBRARY) and not file.startswith(_PACKAGES)
    )
