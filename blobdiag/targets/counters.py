"""Cumulative counters with their times, from which the work of any stretch is read."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

BLOCK_SECONDS = 1.0
"""Length of the blocks a window is cut into; the last one takes the rest."""


class ThreadLog:
    """Cumulative counters of one search thread, as it stamped them."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.evaluations: list[int] = []

    def forget(self, before: float) -> None:
        """Drop what was stamped before a moment."""
        gone = bisect_left(self.times, before)
        del self.times[:gone]
        del self.evaluations[:gone]

    def at(self, times: np.ndarray) -> np.ndarray:
        """Evaluations at monotonic `times`, interpolated between stamps."""
        return np.interp(times, self.times, self.evaluations)
