"""Records as they are read: whole, torn, foreign, and full."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobdiag.targets.program.inside.site import blobdiag_record as layout
from blobdiag.targets.program.inside.site.blobdiag_record import Record
from blobdiag.targets.program.record_file import FILE
from blobdiag.targets.program.records import read_records

ROW = layout.ROWS.word
KIND = ("game.Net", "cuda:0", "cpu", "float32", False, True)


def written(folder: Path) -> Record:
    """A record with something of everything."""
    state: dict[str, Any] = {"python": "3.11.7", "unseen": ["x"], "cuda_initialised": True}
    record = Record(str(folder), state)
    for threads in (1, 2):
        row = record.claim_row(KIND)
        assert row is not None
        record.ints[row + ROW("buckets") + 2 + 3] = 100
        record.ints[row + ROW("input_rows")] = 700
        record.ints[row + ROW("intra_op_threads")] = threads
        record.floats[row + ROW("own_seconds")] = 0.25 * threads
    record.begin("open")
    end = record.begin("done")
    assert end is not None
    record.end(end)
    record.count("games", 3)
    return record


def test_what_was_written_is_read(tmp_path: Path) -> None:
    record = written(tmp_path)
    [counts] = read_records(tmp_path).processes
    assert (counts.pid, counts.start_ticks) == (os.getpid(), record.state["start_ticks"])
    assert (counts.python, counts.cuda_initialised, counts.torch) == ("3.11.7", True, None)
    assert counts.progress == {"games": 3}
    [calls] = counts.modules
    assert (calls.module, calls.parameter_device, calls.input_device) == KIND[:3]
    assert (calls.dtype, calls.train_mode, calls.grad_enabled) == KIND[3:]
    assert (calls.calls, calls.rows, calls.batch_histogram) == (200, 1400, {8: 200})
    assert (calls.threads, calls.intra_op_threads) == (2, 2)
    assert counts.own_seconds == 0.75
    opened, done = read_records(tmp_path).marks
    assert (opened.name, opened.end) == ("open", None)
    assert done.end is not None
    assert opened.start <= done.start <= done.end


def test_a_process_that_became_another_program_keeps_its_counts(tmp_path: Path) -> None:
    written(tmp_path)
    second = written(tmp_path)
    second.state["python"] = "3.12.1"
    second.publish()
    [counts] = read_records(tmp_path).processes
    assert counts.python == "3.12.1"
    assert [calls.calls for calls in counts.modules] == [400]
    assert counts.progress == {"games": 6}
    assert len(read_records(tmp_path).marks) == 4


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "1.2.3").write_bytes(b"")
    (tmp_path / "1.2.4").write_bytes(b"blobdia1" + bytes(layout.FILE_BYTES))
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / "1.2.5").mkdir()
    os.mkfifo(tmp_path / "1.2.6")
    (tmp_path / "1.2.7").symlink_to("nowhere")
    assert len(read_records(tmp_path).processes) == 1
    assert read_records(tmp_path / "missing") == ([], [])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Path(written(tmp_path_factory.mktemp("whole")).path).read_bytes()


WORDS = st.integers(-(2**63), 2**63 - 1).map(lambda word: word.to_bytes(8, "little", signed=True))


MARKS = range(layout.MARKS.start(0), layout.MARKS.start(2), layout.WORD)
ROWS = range(layout.ROWS.start(0), layout.ROWS.start(1), layout.WORD)
"""Where the words of the first entries are, in bytes."""


@given(
    length=st.integers(0, layout.FILE_BYTES),
    damage=st.lists(
        st.tuples(
            st.sampled_from([*range(8, 80, 8), 2080, 4096, 4152, *ROWS, *MARKS]),
            WORDS,
        ),
        max_size=4,
    ),
)
def test_a_damaged_record_is_never_an_error(
    whole: bytes, length: int, damage: list[tuple[int, bytes]]
) -> None:
    """What is read of it fits a report: finite numbers, nothing negative."""
    torn = bytearray(whole)
    for at, word in damage:
        torn[at : at + 8] = word
    with TemporaryDirectory() as folder:
        (Path(folder) / "1.2.3").write_bytes(torn[:length])
        records = read_records(Path(folder))
        for counts in records.processes:
            for calls in counts.modules:
                assert min(calls.calls, calls.exceptions, calls.timed_calls) >= 0
                json.loads(calls.model_dump_json())
            json.dumps(counts.progress, allow_nan=False)
        json.dumps(records.marks, allow_nan=False)


def test_the_reader_has_the_writers_layout() -> None:
    assert FILE.itemsize == layout.FILE_BYTES
    for name, table in layout.TABLES.items():
        dtype, offset = FILE.fields[name][:2]
        assert (offset, dtype.shape) == (table.offset, (table.entries,))
        assert dtype.base.itemsize == table.entry_bytes
        assert {field: dtype.base.fields[field][1] for field in dtype.base.names} == table.at


def test_a_file_that_is_cut_short_is_no_record(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "1.2.3").write_bytes(whole)
    assert len(read_records(tmp_path).processes) == 1
    (tmp_path / "1.2.3").write_bytes(whole[:-1])
    assert read_records(tmp_path) == ([], [])


@pytest.mark.parametrize("unseen", [5, "x", {"a": 1}, [1], None])
def test_a_state_of_other_types_is_no_record(tmp_path: Path, unseen: Any) -> None:
    Record(str(tmp_path), {"unseen": unseen}).leave_out(1)
    assert read_records(tmp_path).processes == []


def test_full_tables_say_what_they_left_out(tmp_path: Path) -> None:
    record = Record(str(tmp_path), {"unseen": []})
    rows = [record.claim_row((f"Kind{n}", "cpu", "cpu", "none", True, True)) for n in range(130)]
    assert rows[127:] == [rows[127], None, None]
    assert record.claim_row(("x" * 300, "cpu", "cpu", "none", True, True)) is None
    record.leave_out(5)
    ends = [record.begin(f"phase{n % 70}") for n in range(layout.MARKS.entries + 2)]
    assert ends[-3:] == [ends[-3], None, None]
    [counts] = read_records(tmp_path).processes
    assert counts.modules_left_out == 5
    assert counts.unseen == ["2 phases after the first 4,096"]
    marks = read_records(tmp_path).marks
    assert len(marks) == layout.MARKS.entries
    assert {mark.name for mark in marks} == {f"phase{n}" for n in range(63)} | {"others"}
    assert os.path.getsize(record.path) == layout.FILE_BYTES


def test_no_room_for_rows_is_a_reason_and_no_error(tmp_path: Path) -> None:
    record = Record(str(tmp_path), {})
    os.unlink(record.path)
    assert record.claim_row(KIND) is None
    assert record.begin("phase") is None
    assert record.state["reason"] == "no room for the record: No such file or directory"


def test_the_fullest_records_fit_a_report(tmp_path: Path) -> None:
    """Sixteen processes, every row of them another kind, every bucket at ten million calls."""
    record = Record(str(tmp_path), {})
    for number in range(layout.ROWS.entries):
        row = record.claim_row((f"package.module.Kind{number}", *KIND[1:]))
        assert row is not None
        for word in range(ROW("input_rows"), ROW("buckets") + layout.BUCKETS):
            record.ints[row + word] = 10_000_000
    [counts] = read_records(tmp_path).processes
    assert sum(calls.calls for calls in counts.modules) == 128 * 34 * 10_000_000
    size = sum(len(calls.model_dump_json(indent=1)) for calls in counts.modules)
    assert 16 * size < 5_000_000
