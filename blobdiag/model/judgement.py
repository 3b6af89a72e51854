"""What diagnosis adds to a report: checks with validity, findings with gains, idle gaps."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Metric, Model, Role, Status, Stretch


class Validity(Model):
    """One rule that evidence must satisfy before its result counts."""

    rule: str
    observed: str
    needed: str
    ok: bool


class Check(Model):
    """One expectation compared with what was observed."""

    name: str
    role: Role
    status: Status
    expectation: str
    observation: str
    evidence: list[str] = Field(default_factory=list)
    validity: list[Validity] = Field(default_factory=list)
    source: str = Field(description="where the expectation comes from")

    @property
    def valid(self) -> bool:
        return all(rule.ok for rule in self.validity)


class Gain(Model):
    """The predicted gain of a remedy; `basis` says how it was predicted or why it cannot be."""

    minutes_per_iteration: float | None = Field(
        default=None, description="minutes saved per iteration of the plan"
    )
    self_play_factor: float | None = Field(
        default=None, description="rate of self-play with the remedy ÷ without"
    )
    basis: str


class Finding(Model):
    """A diagnosed cause, with evidence and remedy."""

    name: str
    title: str
    cause: str
    evidence: list[str]
    remedy: str
    gain: Gain | None = Field(default=None, description="None: an old version made no prediction")


class Verification(Model):
    """A finding's remedy, applied and measured, with the predicted and the realised gain."""

    finding: str
    remedy: str = Field(description="the remedy that was applied")
    predicted: float | None = Field(
        description="predicted rate of self-play with the remedy ÷ without; None: no prediction"
    )
    before: Metric
    after: Metric
    realised: Metric = Field(description="after ÷ before")


class IdleGap(Stretch):
    """A stretch in which a device was idle that should have worked."""

    device: str = Field(
        description="the GPU's UUID, or 'cpu' if self-play and training run on the CPU"
    )
    phase: str | None = Field(description="the phase that contains it, or 'before → after'")
