"""What changes while a training goes on; the share of it that is done runs from 0 to 1."""

from __future__ import annotations

import math
from typing import NamedTuple

FLOOR = 0.05
"""Of the first learning rate: what it falls to."""


class Ramp(NamedTuple):
    """A whole number that grows, or falls, evenly from the first iteration to the last."""

    first: int
    last: int

    @classmethod
    def level(cls, value: int) -> Ramp:
        """The same all the time."""
        return cls(value, value)

    @property
    def most(self) -> int:
        return max(self)

    def at(self, iteration: int, iterations: int) -> int:
        """Of iteration 0 to iterations - 1; those beyond have the last value."""
        done = min(1.0, iteration / (iterations - 1)) if iterations > 1 else 0.0
        return round(self.first + done * (self.last - self.first))


def cosine(done: float) -> float:
    """The learning rate as a share of the first one (Loshchilov and Hutter 2017), down to FLOOR."""
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
