import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import reports
from blobdiag.cli.report_show import show
from blobdiag.cli.report_validate import validate
from blobdiag.model.base import Interval, Metric
from blobdiag.model.judgement import IdleGap
from blobdiag.model.recorded import MOST_POINTS, Phase, Series
from blobdiag.model.report import SCHEMA_VERSION, Report
from blobdiag.model.report_files import (
    MOST_BYTES,
    ReportError,
    check_writable,
    read_report,
    report_path,
    rewrite_report,
    write_report,
)
from blobdiag.model.schema import schema_text

NOW = datetime(2025, 10, 25, 12, 0, 5, tzinfo=UTC)
ROOT = Path(__file__).parents[3]
REFERENCE = sorted((ROOT / "reports" / "reference").glob("*.json"))


# The model's own promises


def test_an_unknown_value_needs_a_reason() -> None:
    with pytest.raises(ValidationError, match="needs a reason"):
        Metric(name="VRAM", value=None, unit="GB")


def test_an_interval_is_ordered_and_a_series_complete() -> None:
    with pytest.raises(ValidationError, match="above high"):
        Interval(low=2.0, high=1.0)
    with pytest.raises(ValidationError, match="2 times, but 1 values"):
        Series(name="x", unit="%", times_s=[0.0, 1.0], values=[None])


def test_a_series_has_no_more_points_than_a_drawing_needs() -> None:
    points = [float(i) for i in range(MOST_POINTS + 1)]
    with pytest.raises(ValidationError, match=f"at most {MOST_POINTS}"):
        Series(name="x", unit="%", times_s=points, values=list(points))
    Series(name="x", unit="%", times_s=points[1:], values=list(points[1:]))


def test_phases_and_gaps_do_not_end_before_they_start() -> None:
    with pytest.raises(ValidationError, match="after its end"):
        Phase(name="self-play", start_s=2.0, end_s=1.0)
    with pytest.raises(ValidationError, match="after its end"):
        IdleGap(device="cpu", start_s=2.0, end_s=1.0, phase=None)


_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(
    st.dictionaries(_TEXT, st.none() | _TEXT | st.integers() | _NUMBER | st.booleans()),
    st.lists(st.tuples(_NUMBER, st.none() | _NUMBER)),
    st.dictionaries(st.integers(0, 10**6), st.integers(1, 10**6)),
    _TEXT,
)
def test_round_trip_through_json(
    configuration: dict[str, Any],
    points: list[tuple[float, float | None]],
    lengths: dict[int, int],
    text: str,
) -> None:
    report = reports.full(
        configuration=configuration,
        series=[
            Series(
                name=text,
                unit="%",
                times_s=[time for time, _ in points],
                values=[value for _, value in points],
            )
        ],
        throughput=[reports.throughput(games_by_evaluations=lengths)],
        verdict_text=text,
    )
    assert Report.model_validate(json.loads(report.model_dump_json())) == report


# Names


def test_path_is_utc_command_and_device(tmp_path: Path) -> None:
    berlin = NOW.astimezone(timezone(timedelta(hours=2)))
    path = report_path(tmp_path, "check-gpu", "cuda:1", berlin)
    assert path == tmp_path / "20251025T120005Z-check-gpu-cuda-1.json"


def test_a_taken_name_is_numbered(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        path = report_path(tmp_path, "compare", "cpu", NOW)
        path.touch()
        names.append(path.name)
    stem = "20251025T120005Z-compare-cpu"
    assert names == [f"{stem}.json", f"{stem}-2.json", f"{stem}-3.json"]


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_device_or_command_leaves_the_folder(command: str, device: str) -> None:
    path = report_path(Path("folder"), command, device, NOW)
    assert path.parent == Path("folder")
    assert path.name.startswith("20251025T120005Z-")


# Writing


def test_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(reports.full(), path)
    assert read_report(path) == reports.full()
    assert os.listdir(tmp_path) == ["report.json"]


def test_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("mine")
    with pytest.raises(ReportError, match="nothing is overwritten"):
        write_report(reports.minimal(), path)
    assert path.read_text() == "mine"
    assert os.listdir(tmp_path) == ["report.json"]


def test_nothing_is_left_of_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ReportError, match="No space left on device"):
        write_report(reports.minimal(), tmp_path / "report.json")
    assert os.listdir(tmp_path) == []


def test_text_that_is_no_unicode_is_written_readably(tmp_path: Path) -> None:
    broken = reports.full(
        verdict_text="\udcff",
        configuration={"a\udcff": "b\udcff"},
        unsupported={"\ud800": "\udfff"},
    )
    path = write_report(broken, tmp_path / "report.json")
    read = read_report(path)
    assert (read.verdict_text, read.configuration) == ("\ufffd", {"a\ufffd": "b\ufffd"})
    assert read.unsupported == {"\ufffd": "\ufffd"}
    rewrite_report(broken, path)
    assert read_report(path) == read


def test_unwritable_folder_is_found_first(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    assert os.listdir(tmp_path / "new" / "folder") == []
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match="cannot write reports to"):
        check_writable(tmp_path / "file")


# Reading


def _data(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(reports.full().model_dump_json())
    return data | changes


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\xff", "is not JSON"),
        (b"\x1f\x8b\x08\x00", "is gzip"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "more than 60,000 objects and lists"),
        (b"[" * 50_000, "is not JSON"),
        (b"[]", "is not a blobdiag report"),
        (b'{"name": "package"}', "is not a blobdiag report"),
        (json.dumps(_data()).encode()[:-100], "is not JSON"),
        (json.dumps(_data(schema_version="x")).encode(), "schema_version 'x' was never written"),
        (json.dumps(_data(schema_version=True)).encode(), "schema_version True was never written"),
        (json.dumps(_data(schema_version=0)).encode(), "schema_version 0 was never written"),
        (json.dumps(_data(schema_version=1, idle_gaps=7)).encode(), "idle_gaps: .* list"),
        (json.dumps(_data(schema_version=1, idle_gaps=[7])).encode(), "idle_gaps.0: "),
        (json.dumps(_data(**{"two\nlines": 1})).encode(), "two lines: Extra inputs"),
        (json.dumps(_data(verdict="GREAT")).encode(), "verdict: "),
        (json.dumps(_data(surprise=1)).encode(), "surprise: Extra inputs"),
        (json.dumps(_data(seconds=float("nan"))).encode(), "seconds: .* finite"),
        (
            json.dumps(_data(workers=[{"worker": 0}])).encode(),
            r"not a valid report: workers\.0\.pid: .*and \d+ more",
        ),
    ],
)
def test_unreadable_report_is_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=why) as caught:
        read_report(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_report_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file"):
        read_report(tmp_path / "none.json")
    with pytest.raises(ReportError, match="cannot read"):
        read_report(tmp_path)


def test_a_report_of_a_newer_schema_says_which_blobdiag_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    newer = _data(schema_version=SCHEMA_VERSION + 1)
    told = f"is of schema version {SCHEMA_VERSION + 1} and needs "
    path.write_text(json.dumps(newer | {"software": {"blobdiag": "9.8.7"}}))
    with pytest.raises(ReportError, match=told + r"blobdiag 9\.8\.7 or newer; this is blobdiag"):
        read_report(path)
    for unsaid in ({}, {"blobdiag": "9\n8"}, None):
        path.write_text(json.dumps(newer | {"software": unsaid}))
        with pytest.raises(ReportError, match=told + "a newer blobdiag; ") as caught:
            read_report(path)
        assert "\n" not in str(caught.value)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with path.open("wb") as file:
        file.truncate(1024**4)  # sparse: reading it would fail for want of memory
    with pytest.raises(ReportError, match="larger than 8 MB"):
        read_report(path)
    with path.open("wb") as file:
        file.truncate(MOST_BYTES)
    with pytest.raises(ReportError, match="is not JSON"):
        read_report(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such device")
def test_a_device_is_no_report() -> None:
    with pytest.raises(ReportError, match="not a regular file"):
        read_report(Path("/dev/zero"))


# Older reports


def test_an_idle_gap_of_version_1_names_its_device(tmp_path: Path) -> None:
    gaps = _data()["idle_gaps"]
    assert gaps
    old = _data(
        schema_version=1,
        idle_gaps=[{"gpu": gap.pop("device"), **gap} for gap in gaps],
    )
    path = tmp_path / "report.json"
    path.write_text(json.dumps(old))
    report = read_report(path)
    assert report.idle_gaps == reports.full().idle_gaps
    # What is known of its idleness are those gaps, found in samples finer than those saved.
    assert [(one.device, len(one.idle)) for one in report.activity] == [(reports.UUID, len(gaps))]
    assert json.loads(path.read_text()) == old


@pytest.mark.parametrize("path", REFERENCE, ids=lambda path: path.stem)
def test_reference_reports_are_read_and_written_as_of_today(path: Path, tmp_path: Path) -> None:
    report = read_report(path)
    # The first four are of before; what is added later is of its day.
    assert json.loads(path.read_text())["schema_version"] == (1 if path.stem < "20261125" else 3)
    assert report.schema_version == SCHEMA_VERSION
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report


# Schema and commands


def test_schema_file_is_that_of_the_model() -> None:
    assert json.loads((ROOT / "reports" / "schema.json").read_text()) == json.loads(schema_text())


def test_show_and_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    write_report(reports.full(), path)
    show(path)
    assert "blobdiag iteration on cuda:0" in capsys.readouterr().out
    validate(path)
    assert capsys.readouterr().out == f"{path}: valid report of schema version {SCHEMA_VERSION}\n"
    path.write_text(json.dumps(_data(schema_version=1, idle_gaps=[])))
    validate(path)
    assert capsys.readouterr().out.endswith(f"version 1 (read as version {SCHEMA_VERSION})\n")


def test_reporting_and_diagnosis_need_neither_torch_nor_the_engine() -> None:
    code = (
        "import sys, blobdiag.cli.report_show, blobdiag.diagnosis.checks, "
        "blobdiag.diagnosis.causes, blobdiag.diagnosis.planning, blobdiag.diagnosis.verdict\n"
        "print([m for m in ('torch', 'engine', 'numba') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
