"""What diagnosis adds: checks with their validity, findings with their gain, idle gaps."""

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
    """One expectation held against what was seen."""

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
    """What a remedy is predicted to bring, and how that was predicted or why it cannot be."""

    minutes_per_iteration: float | None = Field(
        default=None, description="saved in each iteration of the plan"
    )
    self_play_factor: float | None = Field(
        default=None, description="self-play's rate with the remedy ÷ without"
    )
    basis: str


class Finding(Model):
    """A named cause, how it was seen, and what to do about it."""

    name: str
    title: str
    cause: str
    evidence: list[str]
    remedy: str
    gain: Gain | None = Field(default=None, description="None: by a blobdiag that did not predict")


class Verification(Model):
    """A finding's remedy, applied and measured: what was predicted of it, and what it brought."""

    finding: str
    remedy: str = Field(description="what was applied")
    predicted: float | None = Field(description="self-play's rate with it ÷ without; None: not")
    before: Metric
    after: Metric
    realised: Metric = Field(description="after ÷ before")


class IdleGap(Stretch):
    """A stretch in which a device that should have worked did not."""

    device: str = Field(
        description="the GPU's UUID, or 'cpu' where self-play and training run on it"
    )
    phase: str | None = Field(description="the phase it lies in, or 'before → after'")
