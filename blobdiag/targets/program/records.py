"""What the processes of a watched program count inside themselves, as it is read from outside.

The records are written while they are read, by programs that may be killed at any moment, into a
folder that others can write to: what does not fit the layout is left out.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Iterator
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from blobdiag.model.report import ModuleCalls
from blobdiag.targets.program.inside.site import blobdiag_record as layout

Identity = tuple[int, int]
"""PID and start, in clock ticks since boot: PIDs are used again."""


class Inside(NamedTuple):
    """One process's own account; most fields are those of `ProcessRecord` of the same names."""

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


class Mark(NamedTuple):
    """A phase that a process marked itself: `with phase("self-play")`."""

    name: str
    pid: int
    start: float
    """Monotonic seconds, as `time.monotonic()` of every process of the machine."""
    end: float | None
    """None: it is still in it, or it ended inside it."""


class _Row(NamedTuple):
    """One thread's calls of one kind."""

    kind: tuple[str, str, str, str, bool, bool]
    """Module, device of its parameters and of its input, dtype, train mode, grad mode."""
    exceptions: int
    timed: int
    host_seconds: float
    own_seconds: float
    """What counting the timed calls took."""
    intra_op: int
    input_rows: int
    buckets: list[int]


class _Record(NamedTuple):
    """One file."""

    state: dict[str, Any]
    rows: list[_Row]
    calls_left_out: int
    marks_left_out: int
    progress: dict[str, float]
    marks: list[tuple[str, float, float]]
    """Name, start and end; 0: it has not ended."""

    @property
    def process(self) -> Identity:
        return self.state["pid"], self.state["start_ticks"]


NAME: Final = re.compile(rf"\d+\.\d+\.(\d+)({re.escape(layout.ELSEWHERE)})?")
"""PID, its start, and the time when the record was begun, in nanoseconds; then, whether the PID is
of another namespace."""
INSIDE: Final = TypeAdapter(Inside)
KIND: Final = TypeAdapter(tuple[str, str, str, str, bool, bool])


def read_records(folder: Path) -> list[Inside]:
    """What each process counted so far, by PID; it may be called while they count."""
    processes: dict[Identity, list[_Record]] = {}
    for record in _records(folder):
        processes.setdefault(record.process, []).append(record)
    return [inside for _, records in sorted(processes.items()) if (inside := _inside(records))]


def read_marks(folder: Path) -> list[Mark]:
    """The phases that the processes marked so far, by their start."""
    marks = [
        Mark(name, record.process[0], start, end or None)
        for record in _records(folder)
        for name, start, end in record.marks
    ]
    return sorted(marks, key=lambda mark: mark.start)


def _inside(records: list[_Record]) -> Inside | None:
    """One process's account; it has several records where it became another program (exec)."""
    unseen = list(records[-1].state.get("unseen", []))
    if lost := sum(record.marks_left_out for record in records):
        unseen.append(f"{lost:,} phases after the first {layout.MARKS:,}")
    kinds: dict[tuple[str, str, str, str, bool, bool], list[_Row]] = {}
    progress: dict[str, float] = {}
    for record in records:
        for row in record.rows:
            kinds.setdefault(row.kind, []).append(row)
        for name, amount in record.progress.items():
            progress[name] = progress.get(name, 0.0) + amount
    try:
        fields = dict.fromkeys(Inside._fields) | {
            "debug_switches": [],
            **{name: value for name, value in records[-1].state.items() if name in Inside._fields},
            "unseen": unseen,
            "modules": [_calls(kind, rows) for kind, rows in kinds.items()],
            "modules_left_out": sum(record.calls_left_out for record in records),
            "own_seconds": sum(row.own_seconds for rows in kinds.values() for row in rows),
            "progress": progress,
        }
        return INSIDE.validate_python(fields, strict=True)
    except ValidationError:
        return None


def _calls(kind: tuple[str, str, str, str, bool, bool], rows: list[_Row]) -> ModuleCalls:
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
        timed_calls=sum(row.timed for row in rows),
        host_seconds=sum(row.host_seconds for row in rows),
        batch_histogram={
            size: count for size, count in zip(sizes, buckets[1:], strict=True) if count
        },
        threads=len(rows),
        intra_op_threads=max(row.intra_op for row in rows) or None,
    )


def _records(folder: Path) -> Iterator[_Record]:
    """Every record that can be read, in the order in which they were begun."""
    try:
        named = [(match, path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]
    except OSError:
        return
    for _, path in sorted(named, key=lambda found: int(found[0][1])):
        try:
            if path.is_file():
                with path.open("rb") as file:
                    record = _record(file)
                if record is not None:
                    yield record
        except OSError:
            continue


def _record(file: BinaryIO) -> _Record | None:
    """None: it is not one, or not yet one."""
    head = file.read(layout.ROWS_OFFSET)
    if len(head) < layout.ROWS_OFFSET or not head.startswith(layout.MAGIC):
        return None
    words = memoryview(head).cast("q")
    state = _state(head, words[layout.STATE])
    if state is None:
        return None
    rows = file.read(_at_most(words[layout.ROWS_USED], layout.ROWS) * layout.ROW_BYTES)
    file.seek(layout.NAMES_OFFSET)
    names = file.read(layout.MARKS_OFFSET - layout.NAMES_OFFSET)
    marks = file.read(_at_most(words[layout.MARKS_USED], layout.MARKS) * layout.MARK_BYTES)
    return _Record(
        state=state,
        rows=[row for row in map(_row, _pieces(rows, layout.ROW_BYTES)) if row],
        calls_left_out=max(0, words[layout.CALLS_LEFT_OUT]),
        marks_left_out=max(0, words[layout.MARKS_LEFT_OUT]),
        progress=_progress(head, words[layout.COUNTERS_USED]),
        marks=_marks(marks, [_text(name) for name in _pieces(names, 64)]),
    )


def _state(head: bytes, current: int) -> dict[str, Any] | None:
    """The current text of the two, or the other where that was being written."""
    for number in (current & 1, 1 - (current & 1)):
        start = layout.STATE_OFFSET + number * layout.STATE_BYTES
        state = _literal(_text(head[start : start + layout.STATE_BYTES]))
        if isinstance(state, dict) and all(
            isinstance(state.get(name), int) for name in ("pid", "start_ticks")
        ):
            return state
    return None


def _row(piece: bytes) -> _Row | None:
    kind = _kind(_text(piece[: layout.ROW_TEXT_BYTES]))
    words = memoryview(piece[layout.ROW_TEXT_BYTES :]).cast("q")
    doubles = memoryview(piece[layout.ROW_TEXT_BYTES :]).cast("d")
    seconds, own = doubles[layout.ROW_HOST_SECONDS], doubles[layout.ROW_OWN_SECONDS]
    if kind is None or not isfinite(seconds + own) or min(words) < 0:
        return None
    return _Row(
        kind=kind,
        exceptions=words[layout.ROW_EXCEPTIONS],
        timed=words[layout.ROW_TIMED],
        host_seconds=seconds,
        own_seconds=own,
        intra_op=words[layout.ROW_INTRA_OP],
        input_rows=words[layout.ROW_INPUT_ROWS],
        buckets=words[layout.ROW_BUCKETS :].tolist(),
    )


def _progress(head: bytes, used: int) -> dict[str, float]:
    table = head[layout.COUNTERS_OFFSET :][: _at_most(used, layout.COUNTERS) * 64]
    amounts = {
        _text(piece[: layout.NAME_BYTES]): float(memoryview(piece).cast("d")[-1])
        for piece in _pieces(table, 64)
    }
    return {name: amount for name, amount in amounts.items() if isfinite(amount)}


def _marks(table: bytes, names: list[str]) -> list[tuple[str, float, float]]:
    marks = []
    for piece in _pieces(table, layout.MARK_BYTES):
        number = memoryview(piece).cast("q")[0]
        start, end = memoryview(piece).cast("d")[1:]
        if (
            0 <= number < len(names)
            and isfinite(start)
            and isfinite(end)
            and (end >= start or not end)
        ):
            marks.append((names[number], start, end))
    return marks


def _pieces(table: bytes, size: int) -> list[bytes]:
    """The whole ones: a truncated file has a part of one at its end."""
    return [table[start : start + size] for start in range(0, len(table) - size + 1, size)]


def _at_most(used: int, most: int) -> int:
    return min(max(0, used), most)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


@lru_cache(4096)
def _kind(text: str) -> tuple[str, str, str, str, bool, bool] | None:
    """Cached: the same texts are read every few seconds."""
    try:
        return KIND.validate_python(_literal(text), strict=True)
    except ValidationError:
        return None


def _literal(text: str) -> Any:
    """The value that Python's `ascii()` wrote; None: it is none."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
