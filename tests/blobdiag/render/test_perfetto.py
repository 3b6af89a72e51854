"""The timeline of a report: valid as trace events, and true to the report."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_runs import Run
from trace_events import violations

import reports
from blobdiag.cli.report_trace import trace
from blobdiag.model.judgement import IdleGap
from blobdiag.model.recorded import Event, Phase, Series
from blobdiag.model.report import Report
from blobdiag.model.report_files import ReportError, read_report, write_report
from blobdiag.render.perfetto import chrome_trace, trace_text

REFERENCE = sorted((Path(__file__).parents[3] / "reports" / "reference").glob("*.json"))
REPORTS = {
    "minimal": reports.minimal,
    "full": reports.full,
    "scripted, two GPUs": Run(gpus=2, workers=2, gap_seconds=3.0).report,
    "scripted, lost device": Run(command="iteration", workers=4, lost_device=2).report,
    **{path.stem: lambda path=path: read_report(path) for path in REFERENCE},
}
MS = 1_000  # in µs


def parsed(report: Report) -> dict[str, Any]:
    """What a viewer gets; a constant like NaN is no JSON."""
    found: dict[str, Any] = json.loads(trace_text(report), parse_constant=pytest.fail)
    return found


def wrong_with(report: Report) -> list[str]:
    return violations(parsed(report), {series.unit for series in report.series} | {"value"})


def shown(report: Report, kind: str) -> list[dict[str, Any]]:
    return [event for event in parsed(report)["traceEvents"] if event["ph"] == kind]


def threads(report: Report) -> dict[int, str]:
    return _names(report, "thread_name", "tid")


def processes(report: Report) -> dict[int, str]:
    return _names(report, "process_name", "pid")


def _names(report: Report, kind: str, number: str) -> dict[int, str]:
    return {e[number]: e["args"]["name"] for e in shown(report, "M") if e["name"] == kind}


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS.keys())
def test_every_event_is_valid_and_every_time_is_the_reports(make: Callable[[], Report]) -> None:
    report = make()
    assert wrong_with(report) == []
    slices = shown(report, "X")
    phases = sorted((p.start_s, p.end_s, p.name) for p in report.phases)
    named = threads(report)
    on_phases = [e for e in slices if named[e["tid"]].startswith("phases")]
    drawn = sorted((e["ts"], e["ts"] + e["dur"], e["name"]) for e in on_phases)
    assert [name for *_, name in drawn] == [name for *_, name in phases]
    for (start, end, _), (start_s, end_s, _) in zip(drawn, phases, strict=True):
        assert start == pytest.approx(1e6 * start_s, abs=MS)
        assert end == pytest.approx(1e6 * end_s, abs=MS)
    idle = sorted((e["ts"], e["dur"]) for e in slices if e["name"] == "idle")
    gaps = sorted((1e6 * gap.start_s, 1e6 * gap.seconds) for gap in report.idle_gaps)
    assert idle == [(pytest.approx(s, abs=MS), pytest.approx(d, abs=MS)) for s, d in gaps]
    times = sorted(event.at_s for event in report.events)
    events = [e for e in shown(report, "i") if named[e["tid"]] == "events"]
    assert [e["ts"] for e in events] == pytest.approx([1e6 * t for t in times], abs=MS)
    known = sorted(
        (time, value)
        for series in report.series
        for time, value in zip(series.times_s, series.values, strict=True)
        if value is not None
    )
    drawn_samples = [(e["ts"], *e["args"].values()) for e in shown(report, "C")]
    assert sorted(v for _, v in drawn_samples) == sorted(v for _, v in known)
    assert sorted(t for t, _ in drawn_samples) == pytest.approx(
        [1e6 * time for time, _ in known], abs=MS
    )


def test_the_checker_finds_what_is_wrong() -> None:
    good = chrome_trace(read_report(REFERENCE[0]))
    units = {series.unit for series in read_report(REFERENCE[0]).series}
    assert violations(good, units) == []

    def broken(kind: str, **changes: Any) -> list[str]:
        bad = copy.deepcopy(good)
        event = next(e for e in bad["traceEvents"] if e["ph"] == kind)
        event |= changes
        return violations(bad, units)

    assert broken("C", args={"%": None})
    assert broken("C", args={"%": True})
    assert broken("C", args={"furlongs": 1.0})
    assert broken("C", args={})
    assert broken("C", ts=-1)
    assert broken("X", dur=10**6)
    assert broken("X", dur=0.5)
    assert broken("X", tid=99)
    assert broken("X", ph="Y")
    assert broken("M", args={"name": 7})
    assert broken("M", name="process_label")


def test_the_run_and_its_verdict_are_beside_the_events() -> None:
    data = parsed(reports.full())["otherData"]
    assert data["command"] == "iteration"
    assert data["verdict"] == "FAIL"
    assert data["verdict_text"] == reports.full().verdict_text
    assert data["not_known"] == reports.full().unsupported


def test_a_sample_that_is_not_known_is_no_value_but_a_slice() -> None:
    series = Series(
        name="host/cpu",
        unit="%",
        times_s=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        values=[None, 7.0, None, None, 8.0, None],
    )
    report = reports.minimal(series=[series], seconds=9.0)
    assert wrong_with(report) == []
    assert [(e["ts"], e["args"]) for e in shown(report, "C")] == [
        (1_000_000, {"%": 7.0}),
        (4_000_000, {"%": 8.0}),
    ]
    stretches = [(e["name"], e["ts"], e["dur"]) for e in shown(report, "X")]
    assert stretches == [
        ("not known", 0, 1_000_000),
        ("not known", 2_000_000, 2_000_000),
        ("not known", 5_000_000, 4_000_000),
    ]
    assert set(threads(report).values()) == {"host/cpu: not known"}


def test_a_worker_lives_from_its_first_sample_to_its_last() -> None:
    worker = reports.worker(3, "cpu", games=17)
    series = [
        Series(
            name=f"process/{worker.pid}/{name}",
            unit=unit,
            times_s=[2.0, 3.5, 8.0],
            values=[1.0, 2.0, last],
        )
        for name, unit, last in (("cpu", "%", None), ("rss", "MiB", 4.0))
    ]
    report = reports.minimal(series=series, workers=[worker], seconds=9.0)
    assert wrong_with(report) == []
    [life] = [e for e in shown(report, "X") if e["name"] == "worker 3, finished"]
    assert (life["ts"], life["dur"], life["args"]["games"]) == (2_000_000, 6_000_000, 17)
    assert processes(report)[life["pid"]] == f"worker 3 on cpu (pid {worker.pid})"
    assert {e["name"] for e in shown(report, "C") if e["pid"] == life["pid"]} == {"cpu", "rss"}
    assert shown(reports.minimal(workers=[worker]), "X") == []


def test_a_gpus_samples_and_gaps_are_its_own() -> None:
    report = Run(gpus=2, workers=2, gap_seconds=3.0).report()
    assert report.idle_gaps
    expected = {f"GPU {gpu.nvml_index}, {gpu.name}" for gpu in report.gpus}
    named = processes(report)
    counters = [e for e in shown(report, "C") if e["name"] == "utilization"]
    gaps = [e for e in shown(report, "X") if e["name"] == "idle"]
    assert {named[e["pid"]] for e in counters} == {named[e["pid"]] for e in gaps} == expected


def test_samples_of_before_the_run_are_left_out() -> None:
    series = Series(name="host/cpu", unit="%", times_s=[-0.5, 0.5], values=[1.0, 2.0])
    report = reports.minimal(series=[series])
    assert wrong_with(report) == []
    assert [e["ts"] for e in shown(report, "C")] == [500_000]


def test_text_is_utf_8_without_escapes_of_surrogates() -> None:
    report = reports.minimal(events=[Event(at_s=0.1, kind="odd", text="😀 \udcff\nsecond")])
    assert wrong_with(report) == []
    assert "odd: 😀 ?".encode() in trace_text(report)
    assert b"\\ud" not in trace_text(report)


_TIME = st.floats(0, 1e5)
_STRETCH = st.tuples(_TIME, _TIME).map(sorted)


@settings(deadline=None, max_examples=50)
@given(st.lists(_STRETCH, max_size=12), st.lists(_STRETCH, max_size=6))
def test_whatever_overlaps_nests_on_its_thread(
    phases: list[list[float]], gaps: list[list[float]]
) -> None:
    report = reports.minimal(
        phases=[Phase(name=f"p{i}", start_s=s, end_s=e) for i, (s, e) in enumerate(phases)],
        idle_gaps=[IdleGap(device="cpu", start_s=s, end_s=e, phase=None) for s, e in gaps],
    )
    assert wrong_with(report) == []
    assert len(shown(report, "X")) == len(phases) + len(gaps)


def test_nested_phases_share_a_thread() -> None:
    stretches = [("a", 0.0, 4.0), ("b", 1.0, 2.0), ("c", 2.0, 4.0), ("d", 3.0, 5.0)]
    report = reports.minimal(phases=[Phase(name=n, start_s=s, end_s=e) for n, s, e in stretches])
    named = threads(report)
    assert {e["name"]: named[e["tid"]] for e in shown(report, "X")} == {
        "a": "phases",
        "b": "phases",
        "c": "phases",
        "d": "phases (2)",
    }


def test_the_file_lies_beside_the_report_and_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    write_report(reports.full(), report)
    trace(report, None)
    assert capsys.readouterr().out == f"{tmp_path / 'report.trace.json'}\n"
    assert (tmp_path / "report.trace.json").read_bytes() == trace_text(reports.full())
    with pytest.raises(ReportError, match="nothing is overwritten"):
        trace(report, None)
    trace(report, tmp_path / "other.json")
    assert (tmp_path / "other.json").read_bytes() == trace_text(reports.full())
    with pytest.raises(ReportError, match="cannot write"):
        trace(report, tmp_path / "no" / "folder.json")
