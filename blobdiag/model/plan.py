"""A plan: minutes an iteration, term by term, and days."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Interval, Model


class PlanTerm(Model):
    """One summand of an iteration's minutes, with what a free one would gain (Amdahl)."""

    name: str
    minutes: float
    share: float
    formula: str
    days_saved_if_free: float


class PlanScenario(Model):
    """An iteration plan at an assumed self-play rate, for comparison with the measured one."""

    name: str
    games_per_minute: Interval
    days: Interval
    assumption: str


class Plan(Model):
    """Capacity: iterations × games on this machine."""

    iterations: int
    games_per_iteration: int = Field(description="where they grow: the mean, rounded")
    reuse: float
    terms: list[PlanTerm]
    minutes_per_iteration: float
    days: float
    days_interval: Interval | None
    interval_reason: str | None = Field(default=None, description="why `days_interval` is null")
    scenarios: list[PlanScenario]
