"""Work that is done again and again beside a program, and never takes much of a core."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, thread_time

# What is spent at the start, when everything is new, does not delay what comes next.
ALLOWANCE_SECONDS = 0.1


class Paced:
    """A piece of work: every `seconds`, and more rarely where it would exceed its share."""

    def __init__(self, work: Callable[[], None], seconds: float, share: float) -> None:
        """`share` of a core, 0 to 1, is the most that the work takes in the long run."""
        self.due = self._began = monotonic()
        self._work, self._seconds, self._share = work, seconds, share
        self._spent = -ALLOWANCE_SECONDS

    def run_if_due(self) -> None:
        if monotonic() < self.due:
            return
        before = thread_time()
        self._work()
        self._spent += thread_time() - before
        self.due = max(monotonic() + self._seconds, self._began + self._spent / self._share)
