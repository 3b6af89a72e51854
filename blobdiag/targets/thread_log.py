"""Cumulative counters with times, from which the work in any stretch is interpolated."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

BLOCK_SECONDS = 1.0
"""Minimum length of the blocks that a window is cut into."""


class ThreadLog:
    """Cumulative evaluations of one search thread, with their times in monotonic seconds."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.evaluations: list[int] = []

    def forget(self, before: float) -> None:
        """Drop the entries before `before` (monotonic seconds)."""
        gone = bisect_left(self.times, before)
        del self.times[:gone]
        del self.evaluations[:gone]

    def at(self, times: np.ndarray) -> np.ndarray:
        """Cumulative evaluations [n] at `times` [n] (monotonic seconds), interpolated."""
        return np.interp(times, self.times, self.evaluations)
