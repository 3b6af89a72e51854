"""A plan of a training: minutes per iteration, term by term, and days."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Interval, Model


class PlanTerm(Model):
    """One term of an iteration's minutes, and the days saved if it cost nothing (Amdahl)."""

    name: str
    minutes: float
    share: float
    formula: str
    days_saved_if_free: float


class PlanScenario(Model):
    """The days of a plan at an assumed self-play rate, for comparison."""

    name: str
    games_per_minute: Interval
    days: Interval
    assumption: str


class Plan(Model):
    """Duration of `iterations` × `games_per_iteration` games on one machine."""

    iterations: int
    games_per_iteration: int = Field(description="the rounded mean if the number grows")
    reuse: float
    terms: list[PlanTerm]
    minutes_per_iteration: float
    days: float
    days_interval: Interval | None
    interval_reason: str | None = Field(default=None, description="why `days_interval` is null")
    scenarios: list[PlanScenario]
