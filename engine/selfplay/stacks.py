"""Sample the Python stacks of threads that keep the device waiting, to find the code to blame.

A sampling thread calls `sys._current_frames`, which costs microseconds and nothing in the threads
sampled. Its own wake-ups cost ten times as much, so it samples less often while nothing waits.
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

WAITING_SECONDS, PERIOD_SECONDS = 0.02, 0.05
"""Seconds between two samples: while the device waits, and while it does not."""

_PATHS = sysconfig.get_paths()
_LIBRARY = (_PATHS["stdlib"], _PATHS["platstdlib"])
_PACKAGES = (_PATHS["purelib"], _PATHS["platlib"])
"""site-packages is a folder inside the standard library's, but not part of it."""


class Place(NamedTuple):
    """A line of Python code, and the phase in which a thread was there."""

    phase: str
    where: str
    """file.py:LINE function"""


class StackWatch:
    """Adds up, by place, the seconds that the device waited for threads at that place.

    `waited_for()` is called for every sample, in the sampling thread; it returns (ident, phase) of
    each thread that the device waits for at that moment.

    A sample stands for all the time since the one before. A thread that holds the GIL during a long
    C call also blocks the sampling thread; it is charged with the whole call, since the GIL is
    released right after it, at the same line.
    """

    def __init__(self, waited_for: Callable[[], Iterable[tuple[int, str]]]) -> None:
        self.seconds: dict[Place, float] = {}
        self.cpu_seconds = 0.0
        """CPU time of the sampling thread."""
        self._waited_for = waited_for
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="stack-watch", daemon=True)

    def start(self) -> None:
        """Start to sample; no-op the second time."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Stop sampling; `seconds` stays."""
        self._ended = True
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        last, seen = monotonic(), False
        while not self._ended:
            sleep(WAITING_SECONDS if seen else PERIOD_SECONDS)
            now, seen = monotonic(), False
            for place in self._sample():
                seen = True
                self.seconds[place] = self.seconds.get(place, 0.0) + now - last
            last = now
            self.cpu_seconds = thread_time()

    def _sample(self) -> list[Place]:
        threads = list(self._waited_for())
        if not threads:
            return []
        frames = sys._current_frames()
        return [Place(phase, where(frames[ident])) for ident, phase in threads if ident in frames]


def where(frame: FrameType) -> str:
    """`file.py:LINE function` of the innermost frame outside the standard library.

    Code that waits inside the standard library, or calls it for work, is thereby named itself.
    """
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
