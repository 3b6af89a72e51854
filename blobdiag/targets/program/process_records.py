"""The report's record of each process: what /proc showed of it, joined with its own counts."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from blobdiag.model.masking import mask_arguments, readable
from blobdiag.model.program import ProcessRecord
from blobdiag.model.program_settings import RecordArguments
from blobdiag.sampling.proc import started_at
from blobdiag.targets.program.process_tree import ProgramProcess
from blobdiag.targets.program.records import Identity, ProcessCounts

MOST_PROCESSES = 200
"""In a report: those with counts of their own, then those that computed longest."""

MOST_KINDS = 1_000
"""Of calls, in all processes of a report together; of one process at least FEWEST_KINDS."""
FEWEST_KINDS = 4

MOST_CHARACTERS = 300
"""Of a command line."""

FROM_COUNTS = (set(ProcessCounts._fields) & set(ProcessRecord.model_fields)) - {"pid", "parent_pid"}
"""Fields that a process itself knows best."""

COUNTED = "torch"
NOT_COUNTED = ("jax", "tensorflow", "onnxruntime")


def shown_command(
    arguments: Sequence[str], record: RecordArguments = RecordArguments.MASKED
) -> str:
    """A command line as a report has it, at most MOST_CHARACTERS long."""
    if record is RecordArguments.ALL:
        text = shlex.join(map(readable, arguments))
    else:
        shown = mask_arguments(arguments if record is RecordArguments.MASKED else arguments[:1])
        text = " ".join(map(_quoted, shown))
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 2]} …"


def _quoted(masked: str) -> str:
    """As a shell takes it; what masking writes, `***` and `~`, needs no quotes."""
    bare = masked.replace("***", "x").replace("~", "x")
    return masked if shlex.quote(bare) == bare else shlex.quote(masked)


def process_records(
    seen: Iterable[ProgramProcess],
    counted: Iterable[ProcessCounts],
    ended: Mapping[Identity, float],
    injected: Path | None,
    start: float,
    record_arguments: RecordArguments = RecordArguments.MASKED,
) -> tuple[list[ProcessRecord], int]:
    """(records in order of their start, how many were left out).

    A process that started and exited between two scans is known by its own counts alone, if it
    has any. `ended` (when such a process exited) and `start` (of the run) are in monotonic
    seconds. `injected` is the folder that brings the instrumentation into a Python process, None:
    there is none.
    """
    unmatched = {counts.identity: counts for counts in counted}
    pairs: list[tuple[ProgramProcess | None, ProcessCounts | None]] = [
        (process, unmatched.pop((process.pid, process.start_ticks), None)) for process in seen
    ]
    pairs += [(None, counts) for counts in unmatched.values() if _has_counts(counts)]
    chosen = sorted(pairs, key=lambda pair: _weight(*pair), reverse=True)[:MOST_PROCESSES]
    kinds = max(FEWEST_KINDS, MOST_KINDS // max(1, len(chosen)))
    records = [
        _with_kinds(_record(process, counts, ended, injected, start, record_arguments), kinds)
        for process, counts in chosen
    ]
    return sorted(records, key=lambda record: record.started_s), len(pairs) - len(chosen)


def _has_counts(counts: ProcessCounts | None) -> bool:
    return counts is not None and bool(counts.modules or counts.progress)


def _weight(process: ProgramProcess | None, counts: ProcessCounts | None) -> tuple[bool, float]:
    return _has_counts(counts), 0.0 if process is None else process.cpu_seconds


def _record(
    process: ProgramProcess | None,
    counts: ProcessCounts | None,
    ended: Mapping[Identity, float],
    injected: Path | None,
    start: float,
    shown: RecordArguments,
) -> ProcessRecord:
    if counts is None:
        assert process is not None
        record = _from_outside(process, start, shown)
        return record.model_copy(update={"reason": _why_not_counted(process, injected)})
    if process is None:
        record = _from_counts(counts, ended.get(counts.identity), start, shown)
    else:
        record = _from_outside(process, start, shown)
    own = {name: getattr(counts, name) for name in FROM_COUNTS}
    return record.model_copy(update={"instrumented": True, **own})


def _from_outside(process: ProgramProcess, start: float, shown: RecordArguments) -> ProcessRecord:
    return ProcessRecord(
        pid=process.pid,
        parent_pid=process.parent_pid,
        command=shown_command(process.arguments, shown),
        started_s=round(process.started - start, 2),
        ended_s=None if process.ended is None else round(process.ended - start, 2),
        cpu_seconds=round(process.cpu_seconds, 2),
        rss_mib=round(process.peak_rss_mib, 1),
        threads=process.most_threads,
        libraries=sorted(process.libraries),
        driver_opened=process.driver_opened,
    )


def _from_counts(
    counts: ProcessCounts, ended: float | None, start: float, shown: RecordArguments
) -> ProcessRecord:
    """It was gone before the first scan: what only the system shows is not known."""
    return ProcessRecord(
        pid=counts.pid,
        parent_pid=counts.parent_pid,
        command=shown_command(counts.arguments, shown),
        started_s=round(started_at(counts.start_ticks) - start, 2),
        ended_s=None if ended is None else round(ended - start, 2),
    )


def _with_kinds(record: ProcessRecord, most: int) -> ProcessRecord:
    """The record with the kinds of call that were made most often."""
    modules = sorted(record.modules, key=lambda module: module.calls, reverse=True)
    left_out = record.modules_left_out + sum(module.calls for module in modules[most:])
    return record.model_copy(update={"modules": modules[:most], "modules_left_out": left_out})


def _why_not_counted(process: ProgramProcess, injected: Path | None) -> str | None:
    """Why a process that computes was not counted inside; None: it loads nothing that does."""
    others = [name for name in NOT_COUNTED if name in process.libraries]
    if COUNTED not in process.libraries:
        only = "its calls are not counted inside: only torch's modules are"
        return f"{' and '.join(others)}: {only}" if others else None
    if injected is None:
        return "--no-instrument"
    if not _is_python(process.arguments):
        return "it is no Python program"
    if option := _isolating_option(process.arguments):
        return f"python {option} ignores PYTHONPATH or sitecustomize"
    return _by_environment(process.environment, injected)


def _by_environment(environment: Mapping[str, str] | None, injected: Path) -> str:
    if environment is None:
        return "its environment cannot be read"
    path = environment.get("PYTHONPATH")
    if path is None:
        return "it was started with another environment, without PYTHONPATH"
    if str(injected) not in path.split(os.pathsep):
        return "it was started with another PYTHONPATH"
    return "it loads torch, but wrote no record: reason unknown"


def _is_python(arguments: Sequence[str]) -> bool:
    return bool(arguments) and os.path.basename(arguments[0]).startswith("python")


def _isolating_option(arguments: Sequence[str]) -> str | None:
    """The option that keeps PYTHONPATH or sitecustomize out: -I, -E or -S, as Python reads them."""
    takes_a_value = False
    for argument in arguments[1:]:
        if takes_a_value:
            takes_a_value = False
        elif not argument.startswith("-") or argument in ("-", "--"):
            return None
        elif not argument.startswith("--"):
            # Of a cluster like -uIc, what follows c or m is the program's.
            options = argument[1:]
            ends = [at for at in map(options.find, "cm") if at >= 0]
            before = options[: min(ends)] if ends else options
            if found := next((letter for letter in before if letter in "IES"), None):
                return f"-{found}"
            if ends:
                return None
            takes_a_value = options in ("W", "X")
    return None
