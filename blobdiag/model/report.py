"""The report: one versioned pydantic model, from which all output is rendered.

Seconds are on the run's clock, which starts at 0 when the command starts measuring. `None` means
unknown, and a field beside it holds the reason; 0 always means a measured zero.
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
    device: str = Field(description="device asked for, resolved")
    started_utc: str
    seconds: float
    interrupted: bool = False
    ended_early: EndedEarly | None = Field(default=None, description="None: the run was complete")
    running: bool = Field(
        default=False, description="whether the run was in progress when the report was written"
    )
    failure: str | None = Field(default=None, description="why the measurement failed")
    verdict: Status = Status.INCONCLUSIVE
    verdict_text: str = "not judged"
    exit_code: int = 3
    configuration: dict[str, str | int | float | bool | None]
    machine: Machine
    gpus: list[Gpu]
    gpu_reason: str | None = Field(default=None, description="why `gpus` is empty; None: it is not")
    software: Software
    phases: list[Phase] = Field(default_factory=list)
    series: list[Series] = Field(default_factory=list)
    activity: list[Activity] = Field(
        default_factory=list,
        description="activity of the devices in use; empty: computed from the series",
    )
    sampler_death: str | None = Field(
        default=None, description="why the sampler died; None: it sampled to the end"
    )
    unsupported: dict[str, str] = Field(
        default_factory=dict, description="why a metric is null, by metric"
    )
    pid: int | None = Field(
        default=None, description="PID of the measuring process, the workers' parent"
    )
    gpu_memory_mib: float | None = Field(
        default=None,
        description="peak memory that torch reserved on a GPU in the measuring process",
    )
    other_pids: list[int] = Field(
        default_factory=list, description="PIDs of the measured engine that are not workers"
    )
    workers: list[WorkerRecord] = Field(default_factory=list)
    weights_hash: str | None = Field(
        default=None, description="hash of the weights that the workers should use at the end"
    )
    weights_version: int | None = Field(
        default=None, description="number of times those weights were replaced"
    )
    holds: list[Hold] = Field(
        default_factory=list, description="where the measuring process kept the device waiting"
    )
    answers: AnswersDifference | None = Field(
        default=None,
        description="difference of the GPU's and the CPU's answers; None: not compared",
    )
    throughput: list[Throughput] = Field(default_factory=list)
    metrics: list[Metric] = Field(default_factory=list)
    idle_gaps: list[IdleGap] = Field(default_factory=list)
    validity: list[Validity] = Field(
        default_factory=list, description="rules of the whole run, satisfied or broken"
    )
    checks: list[Check] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list)
    program: Program | None = Field(default=None, description="the watched program of `run`")
    verification: Verification | None = Field(
        default=None, description="verification of the costliest finding's remedy, if asked for"
    )
    training: TrainingRun | None = Field(
        default=None, description="a training of several iterations, or one stored in a folder"
    )
    matches: list[Match] = Field(default_factory=list, description="matches of `evaluate`")
    plan: Plan | None = None
    memory: MemoryFigures | None = Field(
        default=None, description="sizes of the built-in engine; None in old reports"
    )
    events: list[Event] = Field(default_factory=list)
    seconds_shortest_visible_gap: float | None = None
