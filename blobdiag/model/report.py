"""The report: one versioned pydantic model, the truth from which everything else is drawn.

Seconds are on the run's own clock: 0 is the moment the command started measuring.
`None` means "not known" and always stands beside a reason; 0 always means a measured zero.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from blobdiag.model.base import Interval, Metric, Model, Role, Status, Stretch
from blobdiag.model.judgement import Check, Finding, Gain, IdleGap, Validity, Verification
from blobdiag.model.machine import Gpu, Machine, MigInstance, Software
from blobdiag.model.memory_figures import MemoryFigures
from blobdiag.model.plan import Plan, PlanScenario, PlanTerm
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.recorded import MOST_POINTS, Activity, EndedEarly, Event, Phase, Series
from blobdiag.model.selfplay import (
    AnswersDifference,
    Block,
    Hold,
    NetworkRate,
    PrecisionProbe,
    SearchHealth,
    Throughput,
    WorkerRecord,
)
from blobdiag.model.training import Match, TrainedIteration, TrainingRun

__all__ = [
    "MOST_POINTS",
    "SCHEMA_VERSION",
    "Activity",
    "AnswersDifference",
    "Block",
    "Check",
    "EndedEarly",
    "Event",
    "Finding",
    "Gain",
    "Gpu",
    "Hold",
    "IdleGap",
    "Interval",
    "Machine",
    "Match",
    "MemoryFigures",
    "Metric",
    "MigInstance",
    "Model",
    "ModuleCalls",
    "NetworkRate",
    "Phase",
    "Plan",
    "PlanScenario",
    "PlanTerm",
    "PrecisionProbe",
    "ProcessRecord",
    "Program",
    "Report",
    "Role",
    "SearchHealth",
    "Series",
    "Software",
    "Status",
    "Stretch",
    "Throughput",
    "TrainedIteration",
    "TrainingRun",
    "Validity",
    "Verification",
    "WorkerRecord",
]

SCHEMA_VERSION: Final = 5
"""Raised with every change that old reports do not fit; `migrations.py` then gains a step."""


class Report(Model):
    """One run of one command."""

    schema_version: Literal[5] = SCHEMA_VERSION
    command: str
    device: str = Field(description="the device asked for, resolved")
    started_utc: str
    seconds: float
    interrupted: bool = False
    ended_early: EndedEarly | None = Field(default=None, description="None: it came to its end")
    running: bool = Field(default=False, description="whether it was going on when it was written")
    failure: str | None = Field(default=None, description="why it could not be measured to its end")
    verdict: Status = Status.INCONCLUSIVE
    verdict_text: str = "not judged"
    exit_code: int = 3
    configuration: dict[str, str | int | float | bool | None]
    machine: Machine
    gpus: list[Gpu]
    gpu_reason: str | None = Field(default=None, description="why `gpus` is empty, if it is")
    software: Software
    phases: list[Phase] = Field(default_factory=list)
    series: list[Series] = Field(default_factory=list)
    activity: list[Activity] = Field(
        default_factory=list, description="of the devices in use; empty: by the series"
    )
    sampler_death: str | None = Field(default=None, description="None: it sampled to the end")
    unsupported: dict[str, str] = Field(default_factory=dict, description="metric: why it is null")
    pid: int | None = Field(
        default=None, description="of the measuring process, the workers' parent"
    )
    gpu_memory_mib: float | None = Field(
        default=None, description="the most that torch reserved on a GPU in the measuring process"
    )
    other_pids: list[int] = Field(
        default_factory=list, description="processes of the measured engine that are no workers"
    )
    workers: list[WorkerRecord] = Field(default_factory=list)
    weights_hash: str | None = Field(
        default=None, description="of the weights the workers should play with at the end"
    )
    weights_version: int | None = Field(
        default=None, description="how often those weights were replaced"
    )
    holds: list[Hold] = Field(default_factory=list, description="of the measuring process")
    answers: AnswersDifference | None = Field(
        default=None, description="of the GPU's network and the CPU's; None: not compared"
    )
    throughput: list[Throughput] = Field(default_factory=list)
    metrics: list[Metric] = Field(default_factory=list)
    idle_gaps: list[IdleGap] = Field(default_factory=list)
    validity: list[Validity] = Field(
        default_factory=list, description="rules of the whole run, kept or not"
    )
    checks: list[Check] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list)
    program: Program | None = Field(default=None, description="where another program was watched")
    verification: Verification | None = Field(
        default=None, description="of the costliest finding's remedy, where that was asked for"
    )
    training: TrainingRun | None = Field(
        default=None, description="where several iterations were run, or one kept"
    )
    matches: list[Match] = Field(default_factory=list, description="that the command itself played")
    plan: Plan | None = None
    memory: MemoryFigures | None = Field(
        default=None, description="of the built-in engine; older reports do not have it"
    )
    events: list[Event] = Field(default_factory=list)
    seconds_shortest_visible_gap: float | None = None
