"""The unjudged report of a watched program, running or ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from blobdiag.measure.recording import RecordedEvent, Recording
from blobdiag.model.machine import Gpu
from blobdiag.model.program import Program
from blobdiag.model.program_settings import ProgramSettings
from blobdiag.model.recorded import EndedEarly, Phase
from blobdiag.model.report import Report
from blobdiag.model.visible_gpus import visible
from blobdiag.sampling.summary import gpus_listing, ordinals
from blobdiag.targets.program import progress
from blobdiag.targets.program.phases import Phases, find_phases
from blobdiag.targets.program.process_records import process_records, shown_command
from blobdiag.targets.program.watch import Watch


class Watched(NamedTuple):
    """The watched command, the device expected of it, and its settings."""

    command: Sequence[str]
    expected_device: str | None
    expected_by: str | None
    injected: Path | None
    """The folder that puts the instrumentation into Python processes; None: no instrumentation."""
    settings: ProgramSettings


class Ending(NamedTuple):
    """How the command ended."""

    returncode: int
    """The exit code, or minus the signal that ended the command."""
    early: EndedEarly | None
    """What ended the command early from outside: a signal that was passed on, or a time limit."""

    @property
    def exit_code(self) -> int:
        """As a shell has it; that of a time limit where one ended it."""
        if self.early is not None and self.early.kind == "timed-out":
            return self.early.exit_code
        return self.returncode if self.returncode >= 0 else 128 - self.returncode


def program_report(
    recording: Recording, watched: Watched, watch: Watch, ending: Ending | None
) -> Report:
    """The report of everything recorded so far; `ending` is None while the command runs."""
    now, trace = monotonic(), watch.trace
    gpus = _gpus(watch)
    used = _used(watch, gpus)
    phases = find_phases(watch.counts.marks, trace, used, now)
    trace.spans = phases.spans
    counts = [watch.counts.cost(watched.settings.count_every)] if watched.injected else []
    return recording.report(
        gpus=gpus,
        used=used,
        phases=_phases(watch, phases, now),
        costs=[watch.cost(), *counts],
        figures=progress.rates(trace, trace.start, now),
        events=_events(watch, ending, phases, now),
        ended_early=None if ending is None else ending.early,
        running=ending is None,
        program=_program(watched, watch, phases, ending),
    )


def bare_report(recording: Recording, watched: Watched, ending: Ending, reason: str) -> Report:
    """How the command ended, and nothing that was seen of it: `reason` says why."""
    bare = recording.without_samples()
    bare.event("failed", f"the report lacks what was seen of the command: {reason}")
    return bare.report(
        gpus=[],
        used=[],
        phases=[],
        ended_early=ending.early,
        program=Program(
            command=shown_command(watched.command, watched.settings.record_arguments),
            exit_code=ending.returncode if ending.returncode >= 0 else None,
            signal=-ending.returncode if ending.returncode < 0 else None,
            expected_device=watched.expected_device,
            expected_by=watched.expected_by,
            instrumented=watched.injected is not None,
            phases_from=None,
            processes=[],
            processes_left_out=0,
        ),
    )


def _program(watched: Watched, watch: Watch, phases: Phases, ending: Ending | None) -> Program:
    seen = [] if watch.tree is None else list(watch.tree)
    records, left_out = process_records(
        seen,
        watch.counts.processes,
        watch.counts.ended,
        watched.injected,
        watch.trace.start,
        watched.settings.record_arguments,
    )
    code = None if ending is None else ending.returncode
    return Program(
        command=shown_command(watched.command, watched.settings.record_arguments),
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        expected_device=watched.expected_device,
        expected_by=watched.expected_by,
        instrumented=watched.injected is not None,
        phases_from=phases.source,
        processes=records,
        processes_left_out=left_out + (0 if watch.tree is None else watch.tree.left_out),
    )


def _phases(watch: Watch, phases: Phases, now: float) -> list[Phase]:
    """The phases, each with the rates of the program's own counters."""
    trace = watch.trace
    return [
        phase.model_copy(update={"metrics": progress.rates(trace, span.start, span.end or now)})
        for phase, span in zip(trace.to_phases(), phases.spans, strict=True)
    ]


def _gpus(watch: Watch) -> list[Gpu]:
    gpus = watch.recorder.gpus
    numbers = ordinals(gpus, os.environ)
    return [gpu.model_copy(update={"cuda_index": numbers.get(gpu.uuid)}) for gpu in gpus]


def _used(watch: Watch, gpus: Sequence[Gpu]) -> list[str]:
    """UUIDs of the GPUs on which the driver lists the program, else of those visible to it."""
    pids = {process.pid for process in watch.tree or ()}
    shown = set(visible(os.environ, gpus).uuids or [gpu.uuid for gpu in gpus])
    return gpus_listing(watch.trace, gpus, pids) or [g.uuid for g in gpus if g.uuid in shown]


def _events(watch: Watch, ending: Ending | None, phases: Phases, now: float) -> list[RecordedEvent]:
    seen: list[RecordedEvent] = []
    if phases.left_out:
        seen.append((now, "phases", f"the {phases.left_out} shortest phases are left out"))
    if watch.trace.not_begun:
        seen.append((now, "series", "some series are left out: too many"))
    if ending is None:
        seen.append((now, "running", "written while the command was still running"))
    return seen
