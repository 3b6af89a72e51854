"""One process's record file, read with the layout that `blobdiag_record.py` wrote it by.

A record is read while it is written, by a program that may be killed at any moment and may write
anything: what does not fit the layout is left out. Records of other accounts are not read.
"""

from __future__ import annotations

from ast import literal_eval
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from blobdiag.model.masking import readable
from blobdiag.model.own_files import read_own
from blobdiag.targets.program.inside.site import blobdiag_record as layout

Entries = npt.NDArray[np.void]

LARGEST_TOTAL = 1e300
"""Of a program's own counter: sums and rates of larger ones would overflow."""
"""Of one table, [entries]."""

Kind = tuple[str, str, str, str, bool, bool]
"""Module, device of its parameters and of its input, dtype, train mode, grad mode."""

KIND: Final = TypeAdapter(Kind)


class CallRow(NamedTuple):
    """One thread's calls of one kind: the fields of a row."""

    kind: Kind
    exceptions: int
    timed_calls: int
    host_seconds: float
    own_seconds: float
    """What counting the timed calls took."""
    intra_op_threads: int
    input_rows: int
    buckets: list[int]


class RecordFile(NamedTuple):
    """What one file holds."""

    state: dict[str, Any]
    rows: list[CallRow]
    calls_left_out: int
    marks_left_out: int
    progress: dict[str, float]
    marks: list[tuple[str, float, float]]
    """Name, start and end in monotonic seconds; end 0: it has not ended."""


def _dtype(table: layout.Table) -> np.dtype[np.void]:
    return np.dtype(
        [
            (name, f"S{count}") if kind == "S" else (name, kind, count if count > 1 else ())
            for name, kind, count in table.fields
        ]
    )


FILE: Final = np.dtype(
    {
        "names": list(layout.TABLES),
        "formats": [(_dtype(table), table.entries) for table in layout.TABLES.values()],
        "offsets": [table.offset for table in layout.TABLES.values()],
        "itemsize": layout.FILE_BYTES,
    }
)
"""The whole file."""


def read_record(path: Path) -> RecordFile | None:
    """None: it is not one, or not yet one. Raises OSError where it cannot be read."""
    content = read_own(path, layout.FILE_BYTES)
    if len(content) < layout.FILE_BYTES or not content.startswith(layout.MAGIC):
        return None
    [tables] = np.frombuffer(content, FILE)
    [header] = tables["header"]
    state = _state(header)
    if state is None:
        return None
    names = [_text(name) for (name,) in tables["names"].tolist()]
    return RecordFile(
        state=state,
        rows=_rows(_used(tables["rows"], header["rows_used"])),
        calls_left_out=max(0, int(header["calls_left_out"])),
        marks_left_out=max(0, int(header["marks_left_out"])),
        progress=_progress(_used(tables["counters"], header["counters_used"])),
        marks=_marks(_used(tables["marks"], header["marks_used"]), names),
    )


def _used(entries: Entries, used: np.int64) -> Entries:
    return entries[: max(0, int(used))]


def _state(header: np.void) -> dict[str, Any] | None:
    """The current text of the two, or the other where that was being written."""
    current = int(header["state"]) & 1
    for number in (current, 1 - current):
        state = _literal(_text(header[f"state_{number}"]))
        if isinstance(state, dict) and all(
            isinstance(state.get(name), int) for name in ("pid", "start_ticks")
        ):
            return state
    return None


def _rows(rows: Entries) -> list[CallRow]:
    sound = (rows["buckets"] >= 0).all(axis=1)
    for name in ("exceptions", "timed_calls", "intra_op_threads", "input_rows"):
        sound &= rows[name] >= 0
    for name in ("host_seconds", "own_seconds"):
        sound &= (rows[name] >= 0) & np.isfinite(rows[name])
    return [
        CallRow._make((kind, *numbers, buckets.tolist()))
        for text, *numbers, buckets in rows[sound].tolist()
        if (kind := _kind(_text(text))) is not None
    ]


def _progress(counters: Entries) -> dict[str, float]:
    # NaN is no such number either.
    sound = counters[np.abs(counters["total"]) <= LARGEST_TOTAL]
    return {_text(name): total for name, total in sound.tolist()}


def _marks(marks: Entries, names: list[str]) -> list[tuple[str, float, float]]:
    name, start, end = marks["name"], marks["start"], marks["end"]
    sound = (name >= 0) & (name < len(names)) & np.isfinite(start) & np.isfinite(end)
    sound &= (end >= start) | (end == 0)
    return [(names[number], begin, ended) for number, begin, ended in marks[sound].tolist()]


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


@lru_cache(4096)
def _kind(text: str) -> Kind | None:
    """Cached: the same texts are read every few seconds."""
    try:
        return KIND.validate_python(_literal(text), strict=True)
    except ValidationError:
        return None


def _literal(text: str) -> Any:
    """The value that Python's `ascii()` wrote, its texts readable; None: it is none."""
    try:
        return _readable(literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _readable(value: Any) -> Any:
    """`ascii()` writes lone surrogates as it writes any other character."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_readable, value))
    if isinstance(value, dict):
        return {_readable(key): _readable(one) for key, one in value.items()}
    return value
