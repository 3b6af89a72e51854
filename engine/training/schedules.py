"""Values that change over a training run."""

from __future__ import annotations

import math
from typing import NamedTuple

FLOOR = 0.05
"""Last learning rate ÷ first learning rate."""


class Ramp(NamedTuple):
    """An integer that changes linearly from the first iteration to the last."""

    first: int
    last: int

    @classmethod
    def level(cls, value: int) -> Ramp:
        """The same value in all iterations."""
        return cls(value, value)

    @property
    def most(self) -> int:
        return max(self)

    def at(self, iteration: int, iterations: int) -> int:
        """The value in `iteration`, numbered from 0; later ones than the last have its value."""
        done = min(1.0, iteration / (iterations - 1)) if iterations > 1 else 0.0
        return round(self.first + done * (self.last - self.first))


def cosine(done: float) -> float:
    """Learning rate ÷ first learning rate, from 1 to FLOOR (Loshchilov and Hutter 2017).

    `done` is the share of the training that is done, 0 to 1.
    """
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
