"""What a comparison of two sets of runs says: figures, settings, checks and gates."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import computed_field

from blobdiag.model.base import Interval, Model, Status
from blobdiag.model.judgement import Finding

Better = Literal["higher", "lower"]
Outcome = Literal["better", "worse", "different", "same", "not known"]

# A change so small is not worth a line, however surely it is there.
NEGLIGIBLE = 0.005


class Spread(NamedTuple):
    """How much runs of the same code differ."""

    log_sd: float
    """Standard deviation of the logarithms: 0.02 is 2 %."""
    freedom: int
    """Degrees of freedom it was estimated with: of n runs n - 1."""


class Difference(Model):
    """Something that is not the same on both sides: how often each value was seen."""

    name: str
    old: dict[str, int]
    new: dict[str, int]


class Change(Model):
    """One figure on both sides (geometric means), and new ÷ old."""

    name: str
    unit: str
    better: Better | None
    old: float | None
    new: float | None
    ratio: float | None
    interval: Interval | None
    log_sd: float | None = None
    """The run-to-run spread that the interval rests on, as the SD of the logarithm."""
    freedom: int = 0
    """Its degrees of freedom."""
    reason: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> Outcome:
        """Whether the figure changed; 'not known' where no spread of runs is known."""
        if self.ratio is None or self.interval is None:
            return "not known"
        if abs(self.ratio - 1) < NEGLIGIBLE or self.interval.low <= 1 <= self.interval.high:
            return "same"
        if self.better is None:
            return "different"
        return "better" if (self.ratio > 1) == (self.better == "higher") else "worse"


class GateResult(Model):
    """The result of a gate: PASS, FAIL or INCONCLUSIVE, and why."""

    gate: str
    status: Status
    text: str


class Comparison(Model):
    """Everything that two sets of runs say of each other."""

    old_reports: int
    new_reports: int
    unlike: list[str]
    """Why the sides are not the same experiment."""
    doubts: list[str]
    """Reports whose evidence is invalid: no gate passes or fails on them."""
    settings: list[Difference]
    """Machine, software and configuration."""
    figures: list[Change]
    checks: list[Difference]
    appeared: list[Finding]
    gone: list[Finding]
    gates: list[GateResult]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """1 where a gate fails, else 3 where one is inconclusive, else 0."""
        statuses = {gate.status for gate in self.gates}
        return 1 if Status.FAIL in statuses else 3 if Status.INCONCLUSIVE in statuses else 0
