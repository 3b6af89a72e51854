"""Phases and rates of a program that is not ours, from markers, counters or the GPUs' activity."""

from __future__ import annotations

import pytest

import reports
from blobdiag.diagnosis.program_idle import program_gaps
from blobdiag.model import names
from blobdiag.sampling.long_trace import LongTrace
from blobdiag.sampling.trace import Span
from blobdiag.targets.program.phases import BUSY, IDLE, MOST_PHASES, find_phases, marked
from blobdiag.targets.program.progress import add_progress, rates
from blobdiag.targets.program.records import PhaseMark


def trace_of(**utilization: str) -> LongTrace:
    """GPUs by UUID; a letter is 0.2 s: # busy, . idle, ? not known."""
    trace = LongTrace()
    trace.start = 0.0
    values = {"#": 90.0, ".": 0.0, "?": None}
    for uuid, letters in utilization.items():
        for number, letter in enumerate(letters):
            trace.add(names.utilization(uuid), names.PERCENT, number * 0.2, values[letter])
    trace.absorb()
    return trace


def spans(trace: LongTrace, *uuids: str, end: float) -> list[tuple[str, float, float]]:
    phases = find_phases([], trace, uuids, end)
    return [(s.name, round(s.start, 2), round(s.end or -1, 2)) for s in phases.spans]


def test_phases_of_one_gpu_by_its_activity() -> None:
    trace = trace_of(A="......####......####..####")
    # Loading before the first work is idle; 0.4 s within the work is not.
    assert spans(trace, "A", end=5.2) == [
        (IDLE, 0.0, 1.2),
        (BUSY, 1.2, 2.0),
        (IDLE, 2.0, 3.0),
        (BUSY, 3.0, 5.2),
    ]


def test_phases_of_two_gpus_are_idle_where_both_are() -> None:
    trace = trace_of(A="##........########", B="######........####", C="." * 18)
    assert spans(trace, "A", "B", "C", end=3.6) == [(BUSY, 0.0, 3.6)]
    trace = trace_of(A="##..........######", B="####........######")
    assert spans(trace, "A", "B", end=3.6) == [(BUSY, 0.0, 0.8), (IDLE, 0.8, 2.2), (BUSY, 2.2, 3.6)]


def test_no_phases_where_no_gpu_ever_worked_or_nothing_is_known() -> None:
    for letters in ("." * 50, "?" * 50, ""):
        phases = find_phases([], trace_of(A=letters), ["A"], 10.0)
        assert (phases.spans, phases.source) == ([], None)
    assert find_phases([], trace_of(), [], 10.0).source is None


def test_marks_of_several_processes_are_one_phase_where_they_overlap() -> None:
    marks = [
        PhaseMark("self-play", 11, 1.0, 5.0),
        PhaseMark("self-play", 12, 4.0, 6.0),
        PhaseMark("training", 10, 6.0, 8.0),
        PhaseMark("self-play", 11, 9.0, None),
    ]
    assert marked(marks, now=10.0) == [
        Span("self-play", 1.0, 6.0),
        Span("self-play", 9.0, 10.0),
        Span("training", 6.0, 8.0),
    ]
    phases = find_phases(marks, trace_of(A="#" * 50), ["A"], 10.0)
    assert phases.source == "markers"
    assert [span.start for span in phases.spans] == [1.0, 6.0, 9.0]


def test_of_very_many_phases_the_longest_stay() -> None:
    marks = [PhaseMark("game", 1, n * 10.0, n * 10.0 + 1 + n % 3) for n in range(2 * MOST_PHASES)]
    phases = find_phases(marks, trace_of(), [], 1e5)
    assert (len(phases.spans), phases.left_out) == (MOST_PHASES, MOST_PHASES)
    assert min(s.end - s.start for s in phases.spans if s.end) >= 2


def test_gaps_lie_between_work_or_within_the_marked_phases() -> None:
    trace = trace_of(A="........####........####" + "." * 8)
    phases = find_phases([], trace, ["A"], 6.4)
    (gap,) = program_gaps(reports.of_program(trace, phases, ["A"], 6.4))
    assert (gap.device, gap.phase) == ("A", f"{BUSY} → {BUSY}") or gap.phase == IDLE
    assert (gap.start_s, gap.end_s) == (pytest.approx(2.4), pytest.approx(3.8))
    phases = find_phases([PhaseMark("self-play", 1, 0.0, 6.4)], trace, ["A"], 6.4)
    report = reports.of_program(trace, phases, ["A"], 6.4)
    assert [gap.phase for gap in program_gaps(report)] == ["self-play"] * 3
    longer = report.model_copy(update={"configuration": {"expect": "idle-gap=..2"}})
    assert program_gaps(longer) == []


def test_counters_become_rates_of_the_run_and_of_a_phase() -> None:
    trace = trace_of()
    for seconds in range(0, 125, 5):
        # A game a second in the second minute only.
        add_progress(trace, {"games": max(0.0, seconds - 60.0)}, seconds - 5.0, float(seconds))
        trace.absorb()
    (run,) = rates(trace, 0.0, 120.0)
    assert (run.name, run.unit, run.value) == ("games per minute", "games/min", 30.0)
    (first,) = rates(trace, 0.0, 60.0)
    (second,) = rates(trace, 60.0, 120.0)
    assert (first.value, second.value) == (0.0, 60.0)
    (short,) = rates(trace, 70.0, 72.0)
    assert short.value is None
    assert short.reason == "shorter than 5.0 s between readings"


def test_no_counter_is_no_rate() -> None:
    assert rates(trace_of(A="###"), 0.0, 1.0) == []
