"""What the processes of a watched program counted inside themselves, as read from their records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from blobdiag.model.own_files import check_own_folder
from blobdiag.model.program import ModuleCalls
from blobdiag.targets.program.inside.site import blobdiag_record as layout
from blobdiag.targets.program.record_file import CallRow, Kind, RecordFile, read_record

Identity = tuple[int, int]
"""PID and start, in clock ticks since boot: PIDs are used again."""


class ProcessCounts(NamedTuple):
    """One process's own counters; most fields are those of `ProcessRecord` of the same names."""

    pid: int
    start_ticks: int
    """Clock ticks since boot, as in /proc/PID/stat."""
    parent_pid: int
    """When it began to count."""
    arguments: list[str]
    """Of its command line, the beginning."""
    reason: str | None
    python: str | None
    torch: str | None
    start_method: str | None
    cuda_visible_devices: str | None
    cuda_initialised: bool | None
    gpu_memory_mib: float | None
    cpu_count: int | None
    debug_switches: list[str]
    unseen: list[str]
    modules: list[ModuleCalls]
    modules_left_out: int
    own_seconds: float
    """What counting the timed calls took."""
    progress: dict[str, float]

    @property
    def identity(self) -> Identity:
        """What names a process for good."""
        return self.pid, self.start_ticks


class PhaseMark(NamedTuple):
    """A phase that a process marked itself: `with phase("self-play")`."""

    name: str
    pid: int
    start: float
    """Monotonic seconds, as `time.monotonic()` of every process of the machine."""
    end: float | None
    """None: it is still in it, or it ended inside it."""


class Records(NamedTuple):
    """All records of a folder."""

    processes: list[ProcessCounts]
    """By PID."""
    marks: list[PhaseMark]
    """By their start."""


NAME: Final = re.compile(rf"\d+\.\d+\.(\d+)({re.escape(layout.ELSEWHERE)})?")
"""PID, its start, and the time when the record was begun, in nanoseconds; then, whether the PID is
of another namespace."""
COUNTS: Final = TypeAdapter(ProcessCounts)


def read_records(folder: Path) -> Records:
    """What each process counted and marked so far; it may be called while they count."""
    by_process: dict[Identity, list[RecordFile]] = {}
    marks = []
    for record in _files(folder):
        pid = record.state["pid"]
        by_process.setdefault((pid, record.state["start_ticks"]), []).append(record)
        marks += [PhaseMark(name, pid, start, end or None) for name, start, end in record.marks]
    found = (_counts(files) for _, files in sorted(by_process.items()))
    return Records(
        [counts for counts in found if counts is not None],
        sorted(marks, key=lambda mark: mark.start),
    )


def _files(folder: Path) -> Iterator[RecordFile]:
    """Every record that can be read, in the order in which they were begun."""
    try:
        check_own_folder(folder)
        named = [(match, path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]
    except OSError:
        return
    for _, path in sorted(named, key=lambda found: int(found[0][1])):
        try:
            record = read_record(path)
        except OSError:
            continue
        if record is not None:
            yield record


def _counts(files: list[RecordFile]) -> ProcessCounts | None:
    """One process's counts; it has several files where it became another program (exec)."""
    state = files[-1].state
    unseen = state.get("unseen", [])
    lost = sum(file.marks_left_out for file in files)
    if lost and isinstance(unseen, list):
        unseen = [*unseen, f"{lost:,} phases after the first {layout.MARKS.entries:,}"]
    kinds: dict[Kind, list[CallRow]] = {}
    progress: dict[str, float] = {}
    for file in files:
        for row in file.rows:
            kinds.setdefault(row.kind, []).append(row)
        for name, amount in file.progress.items():
            progress[name] = progress.get(name, 0.0) + amount
    try:
        fields = dict.fromkeys(ProcessCounts._fields) | {
            "debug_switches": [],
            **{name: value for name, value in state.items() if name in ProcessCounts._fields},
            "unseen": unseen,
            "modules": [_calls(kind, rows) for kind, rows in kinds.items()],
            "modules_left_out": sum(file.calls_left_out for file in files),
            "own_seconds": sum(row.own_seconds for rows in kinds.values() for row in rows),
            "progress": progress,
        }
        return COUNTS.validate_python(fields, strict=True)
    except ValidationError:
        return None


def _calls(kind: Kind, rows: list[CallRow]) -> ModuleCalls:
    """The calls of all threads together."""
    module, parameter_device, input_device, dtype, train_mode, grad_enabled = kind
    buckets = [sum(counts) for counts in zip(*(row.buckets for row in rows), strict=True)]
    sizes = [0, *(1 << k for k in range(layout.BUCKETS - 2))]
    return ModuleCalls(
        module=module,
        parameter_device=parameter_device,
        input_device=input_device,
        dtype=dtype,
        train_mode=train_mode,
        grad_enabled=grad_enabled,
        calls=sum(buckets),
        rows=sum(row.input_rows for row in rows) if any(buckets[1:]) else None,
        exceptions=sum(row.exceptions for row in rows),
        timed_calls=sum(row.timed_calls for row in rows),
        host_seconds=sum(row.host_seconds for row in rows),
        batch_histogram={
            size: count for size, count in zip(sizes, buckets[1:], strict=True) if count
        },
        threads=len(rows),
        intra_op_threads=max(row.intra_op_threads for row in rows) or None,
    )
