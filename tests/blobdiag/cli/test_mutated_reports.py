"""Hostile, damaged and contradicting reports through every reader; 10,000 in tests/proof."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_readers import READERS, SLOW, call, faults
from mutated_reports import ESCAPE, bases, mutated

import reports
from blobdiag.diagnosis.judge import judge
from blobdiag.model.contradictions import contradiction
from blobdiag.model.errors import MOST_CHARACTERS, UserError
from blobdiag.model.report_files import ReportError, read_report

COUNT = 300
READ_AT_EACH = 7
"""Each file goes through `validate`, those that are read through one in so many other readers."""
QUICK = [name for name in READERS if name not in SLOW]
FULL: dict[str, Any] = json.loads(reports.full().model_dump_json())


def written(folder: Path, data: Any) -> Path:
    path = folder / "report.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


@pytest.mark.parametrize("first", range(0, COUNT, 50))
def test_mutated_reports_end_in_an_answer_or_a_line(first: int, tmp_path: Path) -> None:
    for number in range(first, first + 50):
        file = written(tmp_path, mutated(number))
        assert faults("validate", file) == [], number
        try:
            report = read_report(file)
        except ReportError:
            reader = QUICK[number % len(QUICK)]
            assert faults(reader, file) == [], (number, reader)
            continue
        assert contradiction(judge(report)) is None, number
        for reader in QUICK[number % READ_AT_EACH :: READ_AT_EACH]:
            assert faults(reader, file) == [], (number, reader)


HOSTILE_FIELDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "markup in a device": lambda d: d["throughput"][0].update(device="[/]", dtype="[/x]"),
    "escapes everywhere": lambda d: _every_text(d, f"{ESCAPE}x\x07[/]"),
    "an unknown dtype": lambda d: d["throughput"][0].update(dtype="float8_e5m2"),
    "no workers": lambda d: d["throughput"][0].update(workers=0, threads=0, lanes=0),
    "no threads": lambda d: d["throughput"][0].update(threads=0),
    "half an iteration": lambda d: d["configuration"].update(plan_iterations=0.5, plan_games=-1),
    "a plan of nothing": lambda d: d["configuration"].update(plan_iterations=0, plan_games=0),
    "a text for a number": lambda d: d["configuration"].update(
        plan_iterations="x", reuse="y", network=7, players="z", workers="[/]"
    ),
    "a surrogate": lambda d: d.update(device="\ud800", configuration={"\udcff": "\ud800"}),
    "an expectation that is none": lambda d: d["configuration"].update(expect="x=[/]..2"),
    "no seconds": lambda d: d.update(seconds=0),
    "the largest seconds": lambda d: d.update(seconds=1e18),
    "the smallest seconds": lambda d: d.update(seconds=1e-100),
}


def _every_text(data: Any, text: str) -> None:
    for name, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        if isinstance(value, str) and name not in (
            "started_utc",
            "command",
            "verdict",
            "status",
            "role",
            "state",
        ):
            data[name] = value + text
        elif isinstance(value, (dict, list)):
            _every_text(value, text)


@pytest.mark.parametrize("field", HOSTILE_FIELDS)
@pytest.mark.parametrize("command", ["compare", "iteration"])
def test_a_valid_report_of_hostile_fields_is_read(field: str, command: str, tmp_path: Path) -> None:
    data = json.loads(json.dumps(FULL)) | {"command": command}
    HOSTILE_FIELDS[field](data)
    file = written(tmp_path, data)
    read_report(file)
    for reader in QUICK:
        assert faults(reader, file) == [], reader


@pytest.mark.slow
@pytest.mark.parametrize("field", HOSTILE_FIELDS)
def test_its_page_is_drawn(field: str, tmp_path: Path) -> None:
    data = json.loads(json.dumps(FULL))
    HOSTILE_FIELDS[field](data)
    assert faults("html", written(tmp_path, data)) == []


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "PASS against its checks": (lambda d: d.update(verdict="PASS"), "deciding check .* failed"),
    "FAIL without a check": (lambda d: d.update(checks=[]), "no deciding check failed"),
    "PASS with exit code 1": (
        lambda d: d.update(verdict="PASS", exit_code=1, checks=[]),
        "exit_code: 1, but the verdict is PASS",
    ),
    "FAIL with exit code 0": (lambda d: d.update(exit_code=0), "exit_code: 0, but"),
    "a date that is none": (lambda d: d.update(started_utc="2025-13-45"), "is no date"),
    "a date and more": (lambda d: d.update(started_utc="2025-10-25 [/]"), "is no date"),
    "negative seconds": (lambda d: d.update(seconds=-1), "seconds: a run of -1 s"),
    "times that run backwards": (
        lambda d: d["series"][0].update(times_s=[1.0, 0.5]),
        "series.0.times_s: times run backwards",
    ),
    "an integer of 400 digits": (lambda d: d.update(pid=10**400), "pid: a number .* too large"),
    "seconds of 1e308": (lambda d: d.update(seconds=1e308), "seconds: a number .* too large"),
    "seconds of 1e-320": (lambda d: d.update(seconds=1e-320), "seconds: .* too close to 0"),
    "a list of 10,001": (lambda d: d.update(other_pids=[1] * 10_001), "other_pids: more than"),
    "a long text": (lambda d: d.update(device="x" * 100_001), "device: more than 100,000"),
    "nested deeply": (lambda d: d.update(gpus=_nested(20)), "nested more than 16 deep"),
}


def _nested(depth: int) -> Any:
    return [] if depth == 0 else [_nested(depth - 1)]


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_name(case: str, tmp_path: Path) -> None:
    change, words = REFUSED[case]
    data = json.loads(json.dumps(FULL))
    change(data)
    with pytest.raises(ReportError, match=words):
        read_report(written(tmp_path, data))


def test_two_reports_in_one_file_are_refused(tmp_path: Path) -> None:
    text = json.dumps(FULL).encode()
    with pytest.raises(ReportError, match="two files joined"):
        read_report(written(tmp_path, text + b"\n" + text))
    with pytest.raises(ReportError, match="'schema_version' is there twice; were two files merged"):
        read_report(written(tmp_path, text[:-1] + b"," + text[1:]))


def test_bases_are_valid_and_agree_with_themselves(tmp_path: Path) -> None:
    for data in bases():
        read_report(written(tmp_path, data))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_no_report_and_nothing_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    for reader in READERS:
        assert faults(reader, tmp_path / "report.json") == [], reader
    assert "not a regular file" in call("report", "validate", str(tmp_path / "report.json")).errors


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode there")
def test_a_name_that_is_not_unicode(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m.json"))
    file.write_text(json.dumps(FULL))
    for reader in QUICK:
        assert faults(reader, file) == [], reader
    file.write_text("{")
    for reader in QUICK:
        assert faults(reader, file) == [], reader


def test_an_error_is_one_line_of_bounded_length() -> None:
    text = str(UserError(f"{'a' * 5_000}\n{ESCAPE}\udcff{'b' * 5_000}: the reason"))
    assert len(text) <= MOST_CHARACTERS
    assert text.isprintable()
    assert text.endswith("the reason")


def test_what_nobody_foresaw_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise RecursionError("too\ndeep")

    from blobdiag.cli import main

    monkeypatch.setattr("blobdiag.model.report_files.read_report", broken)
    monkeypatch.setattr("sys.argv", ["blobdiag", "report", "show", "x.json"])
    monkeypatch.setenv("BLOBDIAG_TRACEBACK", "1")
    with pytest.raises(RecursionError):
        main()
    monkeypatch.delenv("BLOBDIAG_TRACEBACK")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_a_run_of_small_objects_needs_no_memory(tmp_path: Path) -> None:
    """3 MB of `{},` took 2.7 GB."""
    import tracemalloc

    file = written(tmp_path, b'{"schema_version": 5, "command": [' + b"{}," * 1_000_000 + b"{}]}")
    tracemalloc.start()
    try:
        with pytest.raises(ReportError, match="more than 60,000 objects and lists"):
            read_report(file)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 20e6
