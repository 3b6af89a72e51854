"""What was recorded over time: phases, sampled series, device activity, events."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from blobdiag.model.base import Metric, Model, Stretch

MOST_POINTS = 2_000
"""Maximum number of points of one series."""


class Phase(Stretch):
    """A named stretch of the run: 'start-up', 'warm-up', 'self-play', 'training', …"""

    name: str
    device: str | None = None
    metrics: list[Metric] = Field(default_factory=list, description="means over the phase")


class Series(Model):
    """One sampled metric over time; columnar, thinned to at most 2,000 points."""

    name: str
    unit: str
    times_s: list[float] = Field(max_length=MOST_POINTS)
    values: list[float | None] = Field(max_length=MOST_POINTS)
    counts: list[int] = Field(
        default_factory=list,
        max_length=MOST_POINTS,
        description="number of known readings merged into each value; empty: one each",
    )

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.times_s) != len(self.values):
            raise ValueError(f"{len(self.times_s)} times, but {len(self.values)} values")
        if self.counts and len(self.counts) != len(self.values):
            raise ValueError(f"{len(self.counts)} counts, but {len(self.values)} values")
        return self


class Activity(Model):
    """When a device was busy and idle, from every sample of one metric before thinning."""

    device: str = Field(description="a GPU's UUID, or 'cpu' for all processes of the run together")
    metric: str = Field(description="the metric that shows the shortest idle gaps")
    first_busy_s: float | None = Field(description="None: the device was never busy")
    last_busy_s: float | None
    idle: list[Stretch] = Field(
        description="the longest idle stretches, each from its first sample of 0 to its last"
    )
    unseen: list[Stretch] = Field(description="stretches of more than 1 s without a known sample")


class EndedEarly(Model):
    """What ended a run before it was complete."""

    kind: Literal["interrupted", "timed-out"]
    by: str = Field(description="a signal's name, or the option of the time limit")
    exit_code: int


class Event(Model):
    """An event of the run: a lost worker, an interrupt, a warning, …"""

    at_s: float
    kind: str
    text: str
