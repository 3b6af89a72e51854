"""The report of a watched program, while it runs and when it has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from blobdiag.diagnosis import timeline
from blobdiag.diagnosis.causes import find_all
from blobdiag.diagnosis.expectations import Expectation
from blobdiag.diagnosis.program_checks import program_checks
from blobdiag.diagnosis.verdict import verdict
from blobdiag.model.limits import kept_events, kept_gaps
from blobdiag.model.report import Event, Gpu, Phase, Program, Report
from blobdiag.model.report_files import Value, mask_text
from blobdiag.sampling.host import machine, software
from blobdiag.sampling.nvidia.resolution import shortest_visible_gap
from blobdiag.sampling.nvidia.visible import visible
from blobdiag.sampling.summary import energies, ordinals, sampler_cost, why_unordered
from blobdiag.targets.program import progress
from blobdiag.targets.program.phases import Phases, find_phases, idle_gaps
from blobdiag.targets.program.process_records import masked, process_records
from blobdiag.targets.program.signals import name_of
from blobdiag.targets.program.watch import Watch

COMMAND = "run"
ANY_DEVICE = "any device"


class Assignment(NamedTuple):
    """What is watched, and by what it is judged."""

    command: Sequence[str]
    expected_device: str | None
    expected_by: str | None
    injected: Path | None
    """The folder that brings the instrumentation into a Python process; None: there is none."""
    expectations: Mapping[str, Expectation]
    label: str | None
    count_every: int
    """Of the calls inside its processes 1 in so many is counted."""
    configuration: Mapping[str, Value]

    @property
    def idle_threshold(self) -> float:
        """Seconds from which on a pause of a GPU is an idle gap."""
        return self.expectations["idle-gap"].high or 0.0

    @property
    def device(self) -> str:
        return self.expected_device or ANY_DEVICE


class Ending(NamedTuple):
    """How the command ended."""

    returncode: int
    """Its exit code, or minus the signal that ended it."""
    exit_code: int
    """With which a shell, or `--timeout`, would have it told."""
    cut: str | None
    """What ended it early from outside: a signal that was passed on, a time limit."""

    @property
    def text(self) -> str:
        if self.returncode >= 0:
            return f"The command ended with exit code {self.returncode}."
        return f"The command was ended by {name_of(-self.returncode)}."


class Teller:
    """Tells of a watched program, as often as it is asked."""

    def __init__(self, assignment: Assignment, watch: Watch) -> None:
        self.events: list[tuple[float, str, str]] = []
        """(monotonic seconds, kind, text)."""
        self._assignment = assignment
        self._watch = watch
        self._started = datetime.now(UTC)
        self._machine = machine(assignment.label)
        self._software = software(watch.recorder.driver)

    def event(self, kind: str, text: str) -> None:
        """Something happened just now."""
        self.events.append((monotonic(), kind, text))

    def report(self, ending: Ending | None, judge: bool) -> Report:
        """All that is known; `ending` is None while the command runs.

        With `judge` the verdict decides the exit code of a command that ended with 0.
        """
        told, watch, now = self._assignment, self._watch, monotonic()
        trace, recorder = watch.trace, watch.recorder
        gpus = self._gpus()
        used = self._used(gpus)
        phases = find_phases(watch.accounts.marks, trace, used, now)
        trace.spans = phases.spans
        gaps = idle_gaps(trace, used, phases, now, told.idle_threshold)
        report = Report(
            command=COMMAND,
            device=told.device,
            started_utc=self._started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=now - trace.start,
            interrupted=ending is None or ending.cut is not None,
            verdict=verdict([])[0],
            verdict_text="",
            exit_code=0,
            configuration=dict(told.configuration),
            machine=self._machine,
            gpus=gpus,
            gpu_reason=recorder.gpu_reason,
            software=self._software,
            phases=self._phases(phases, used, now),
            series=trace.to_series(),
            unsupported=trace.unsupported | why_unordered(gpus, os.environ),
            pid=os.getpid(),
            metrics=[
                sampler_cost(recorder),
                watch.cost(),
                *([watch.accounts.cost(told.count_every)] if told.injected else []),
                *energies(trace, recorder.gpus, used),
                *progress.rates(trace, trace.start, now),
            ],
            idle_gaps=kept_gaps(gaps),
            program=self._program(phases, ending),
            events=self._events(ending, phases),
            seconds_shortest_visible_gap=max(
                (gap for uuid in used if (gap := shortest_visible_gap(trace, uuid))), default=None
            ),
        )
        return _judged(report, told.expectations, ending, judge)

    def _program(self, phases: Phases, ending: Ending | None) -> Program:
        told, watch = self._assignment, self._watch
        seen = [] if watch.tree is None else list(watch.tree)
        records, left_out = process_records(
            seen, watch.accounts.insides, watch.accounts.ended, told.injected, watch.trace.start
        )
        code = None if ending is None else ending.returncode
        return Program(
            command=masked(told.command),
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            expected_device=told.expected_device,
            expected_by=told.expected_by,
            instrumented=told.injected is not None,
            phases_from=phases.source,
            processes=records,
            processes_left_out=left_out + (0 if watch.tree is None else watch.tree.left_out),
        )

    def _phases(self, phases: Phases, used: Sequence[str], now: float) -> list[Phase]:
        trace = self._watch.trace
        told = []
        for phase, span in zip(timeline.phases(trace, used), phases.spans, strict=True):
            rates = progress.rates(trace, span.start, now if span.end is None else span.end)
            told.append(phase.model_copy(update={"metrics": [*phase.metrics, *rates]}))
        return told

    def _gpus(self) -> list[Gpu]:
        gpus = self._watch.recorder.gpus
        numbers = ordinals(gpus, os.environ)
        return [gpu.model_copy(update={"cuda_index": numbers.get(gpu.uuid)}) for gpu in gpus]

    def _used(self, gpus: Sequence[Gpu]) -> list[str]:
        """UUIDs of the GPUs on which the driver saw the program, else of those CUDA shows it."""
        pids = {process.pid for process in self._watch.tree or ()}
        named = {tuple(name.split("/")[1:4:2]) for name in self._watch.trace.samples}
        on = {uuid for uuid, *pid in named if pid and pid[0].isdecimal() and int(pid[0]) in pids}
        shown = set(visible(os.environ, gpus).uuids or [gpu.uuid for gpu in gpus])
        return [gpu.uuid for gpu in gpus if gpu.uuid in (on or shown)]

    def _events(self, ending: Ending | None, phases: Phases) -> list[Event]:
        watch, now = self._watch, monotonic()
        seen = [*self.events, *((t, "sampler", text) for t, text in watch.recorder.events)]
        if watch.recorder.death is not None:
            seen.append((now, "sampler", f"the sampler died: {watch.recorder.death}"))
        if phases.left_out:
            seen.append((now, "phases", f"the {phases.left_out} shortest phases are left out"))
        if watch.trace.not_begun:
            seen.append((now, "series", "some series are left out: there are too many"))
        if ending is None:
            seen.append((now, "running", "written while the command was still running"))
        return kept_events(
            [
                Event(at_s=time - watch.trace.start, kind=kind, text=mask_text(text))
                for time, kind, text in sorted(seen)
            ]
        )


def _judged(
    report: Report, expectations: Mapping[str, Expectation], ending: Ending | None, judge: bool
) -> Report:
    """The report with its checks, findings, verdict and exit code."""
    checks = program_checks(report, expectations)
    status, judged, text = verdict(checks)
    code = 0 if ending is None else ending.exit_code
    so_far = "The command was still running when this was written. So far:"
    report = report.model_copy(
        update={
            "checks": checks,
            "verdict": status,
            "verdict_text": f"{so_far if ending is None else ending.text} {text}",
            "exit_code": code or (judged if judge else 0),
        }
    )
    return report.model_copy(update={"findings": find_all(report)})
