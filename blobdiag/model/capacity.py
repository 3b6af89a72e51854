"""The answer of `blobdiag plan`, one entry per machine, as `--format json` prints it.

As in a report, `None` means unknown, and a field beside it holds the reason.
"""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Metric, Model, Status
from blobdiag.model.plan import Plan, PlanScenario

SCHEMA_VERSION = 1


class IterationMinutes(Model):
    """Minutes of the first and last iteration of a plan with a growing number of games."""

    first: float
    last: float


class Needed(Model):
    """The self-play rate with which the training ends within `days`, all else equal."""

    days: float
    games_per_minute: float | None
    factor: float | None = Field(default=None, description="needed rate ÷ measured rate")
    reason: str | None = Field(default=None, description="why no rate is enough")


class MemoryTerm(Model):
    """One term of the memory of a card or of the host."""

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
    """Memory needed on a card and on the host; see blobdiag/diagnosis/memory.py."""

    terms: list[MemoryTerm]
    total_mib: float
    rows_per_batch: int = Field(description="rows per group of lanes, two groups a search thread")
    host: MemoryTerm
    host_lanes: int = Field(description="lanes that fit in the host's memory, all workers together")
    assumptions: list[str]
    fit: Fit | None = None


class MachinePlan(Model):
    """The plan from one device of one report."""

    report: str = Field(description="name of the report's file")
    machine: str
    device: str
    command: str
    started_utc: str
    verdict: Status
    broken_rules: list[str] = Field(
        description="broken rules of validity; the report was used anyway"
    )
    plan: Plan
    growth: IterationMinutes | None = Field(default=None, description="None: the games do not grow")
    notes: list[str] = Field(description="assumptions, and what the plan leaves out")
    needed: Needed | None = None
    energy: Metric = Field(description="kWh of the GPUs over the whole plan")
    costs: list[Metric] = Field(description="in the currency of the prices given")
    memory: Memory | None
    memory_reason: str | None = Field(default=None, description="why `memory` is null")


class CapacityPlan(Model):
    """The whole answer of `blobdiag plan`."""

    schema_version: int = SCHEMA_VERSION
    iterations: int
    first_games: int
    last_games: int
    reuse: float
    machines: list[MachinePlan]
    scenarios: list[PlanScenario] = Field(description="days at assumed rates, for comparison")
