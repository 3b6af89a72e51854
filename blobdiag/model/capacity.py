"""What `blobdiag plan` answers: one entry a machine, as `--format json` prints it.

As in a report, `None` means "not known" and stands beside its reason.
"""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Metric, Model, Status
from blobdiag.model.plan import Plan, PlanScenario

SCHEMA_VERSION = 1


class IterationMinutes(Model):
    """The first and the last iteration of a plan whose games grow, minutes."""

    first: float
    last: float


class Needed(Model):
    """What self-play must reach for the training to end within `days`, all else equal."""

    days: float
    games_per_minute: float | None
    factor: float | None = Field(default=None, description="÷ the measured rate")
    reason: str | None = Field(default=None, description="why no rate is enough")


class MemoryTerm(Model):
    """One summand of what a card, or the host, holds."""

    name: str
    mib: float
    formula: str


class Fit(Model):
    """The largest batch and lanes that a card of `card_gb` (10^9 bytes) holds."""

    card_gb: float
    rows_per_batch: int | None = None
    lanes_per_worker: int | None = None
    reason: str | None = Field(default=None, description="why nothing fits")


class Memory(Model):
    """A card's memory by the engine's own sizes; see blobdiag/diagnosis/memory.py."""

    terms: list[MemoryTerm]
    total_mib: float
    rows_per_batch: int = Field(description="of each group of lanes, two a search thread")
    host: MemoryTerm
    host_lanes: int = Field(description="that the host's memory would hold, all workers together")
    assumptions: list[str]
    fit: Fit | None = None


class MachinePlan(Model):
    """The plan by one device of one report."""

    report: str = Field(description="the file's name")
    machine: str
    device: str
    command: str
    started_utc: str
    verdict: Status
    broken_rules: list[str] = Field(
        description="rules of validity that the report broke; it was accepted all the same"
    )
    plan: Plan
    growth: IterationMinutes | None = Field(default=None, description="None: games do not grow")
    notes: list[str] = Field(description="what is assumed, or not in the plan")
    needed: Needed | None = None
    energy: Metric = Field(description="kWh of the GPUs over the whole plan")
    costs: list[Metric] = Field(description="in the currency of the prices given")
    memory: Memory | None
    memory_reason: str | None = Field(default=None, description="why `memory` is null")


class CapacityPlan(Model):
    """Everything `blobdiag plan` says."""

    schema_version: int = SCHEMA_VERSION
    iterations: int
    first_games: int
    last_games: int
    reuse: float
    machines: list[MachinePlan]
    scenarios: list[PlanScenario] = Field(description="for comparison: at assumed rates")
