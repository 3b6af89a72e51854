"""Idle gaps, and whether none could hide."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from blobdiag.diagnosis.checks.idle import no_idle_gaps
from blobdiag.diagnosis.expectations import EXPECTATIONS, Expectation, with_overrides
from blobdiag.diagnosis.facts import Window
from blobdiag.diagnosis.idle import gpu_gaps, idle_gaps
from blobdiag.model.activity import CPU_IDLE_PERCENT
from blobdiag.model.base import Status
from blobdiag.model.judgement import Check, IdleGap
from blobdiag.sampling.trace import Span, Trace

UUID = reports.UUID


def windows(trace: Trace, spans: Sequence[Span]) -> list[Window]:
    """On the run's clock."""
    return [(s.start - trace.start, (s.end or 0.0) - trace.start) for s in spans]


def gaps(trace: Trace, spans: Sequence[Span], threshold: float) -> list[IdleGap]:
    return gpu_gaps(reports.of_trace(trace), [UUID], windows(trace, spans), threshold)


def cpu_gaps(trace: Trace, pids: Sequence[int]) -> list[IdleGap]:
    return idle_gaps(reports.of_trace(trace, device="cpu", other_pids=list(pids)), [])


def _two_phases(values: list[float | None]) -> Trace:
    return reports.trace(values, [Span("self-play", 100.0, 105.0), Span("training", 105.2, 110.0)])


def test_gap_between_phases_names_both() -> None:
    # Samples 22 to 29: 0 % from 4.4 to 5.8 s.
    trace = _two_phases([90.0] * 22 + [0.0] * 8 + [90.0] * 20)
    (gap,) = gaps(trace, trace.spans, 1.0)
    assert gap.device == UUID
    assert (gap.start_s, gap.end_s) == (pytest.approx(4.4), pytest.approx(5.8))
    assert gap.phase == "self-play → training"


def test_gap_inside_a_phase_names_the_innermost() -> None:
    trace = _two_phases([90.0] * 5 + [0.0] * 8 + [90.0] * 37)
    trace.spans.insert(0, Span("iteration", 100.0, 110.0))
    (gap,) = gaps(trace, trace.spans, 1.0)
    assert gap.phase == "self-play"


def test_idle_time_outside_the_spans_is_no_gap() -> None:
    trace = _two_phases([0.0] * 26 + [90.0] * 24)
    assert gaps(trace, trace.spans, 1.0)
    assert not gaps(trace, trace.spans[1:], 1.0)
    assert not gaps(trace, [], 1.0)


def test_a_gap_may_last_until_the_end() -> None:
    trace = _two_phases([90.0] * 40 + [0.0] * 11)
    (gap,) = gaps(trace, trace.spans, 1.0)
    assert gap.seconds == pytest.approx(2.0)
    assert gap.phase == "training"


def test_a_gap_of_just_the_threshold_is_none() -> None:
    trace = Trace(start=0.0, spans=[Span("self-play", 0.0, 1.0)])
    for time in (0.0, 0.5, 1.0):
        trace.add(f"gpu/{UUID}/utilization", "%", time, 0.0)
    assert not gaps(trace, trace.spans, 1.0)
    (gap,) = gaps(trace, trace.spans, 0.99)
    assert (gap.start_s, gap.end_s, gap.phase) == (0.0, 1.0, "self-play")


def test_what_is_not_known_ends_a_gap() -> None:
    trace = _two_phases([90.0] * 20 + [0.0] * 4 + [None] + [0.0] * 4 + [90.0] * 21)
    assert not gaps(trace, trace.spans, 1.0)


def test_a_gap_does_not_reach_across_missing_samples() -> None:
    trace = Trace(start=0.0, spans=[Span("self-play", 0.0, 10.0)])
    for time in (0.0, 0.2, 5.0, 5.2):
        trace.add(f"gpu/{UUID}/utilization", "%", time, 0.0)
    assert not gaps(trace, trace.spans, 1.0)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 50.0, None]), max_size=60), st.floats(0.1, 5.0))
def test_every_gap_is_idle_longer_than_the_threshold(
    values: list[float | None], threshold: float
) -> None:
    trace = reports.trace(values, [Span("self-play", 100.0, 200.0)])
    for gap in gaps(trace, trace.spans, threshold):
        assert gap.seconds > threshold
        inside = [
            value
            for i, value in enumerate(values)
            if gap.start_s - 0.1 <= 0.2 * i <= gap.end_s + 0.1
        ]
        assert set(inside) == {0.0}


PIDS = (7, 8)


def _cpu_trace(*percents: list[float | None]) -> Trace:
    """A process for each list, read every 0.4 s from 100 s on, milliseconds apart."""
    spans = [Span("self-play", 100.0, 110.0)]
    trace = Trace(start=100.0, spans=spans)
    for i, percent in enumerate(percents):
        for tick, value in enumerate(percent):
            trace.add(f"process/{PIDS[i]}/cpu", "%", 100.0 + 0.4 * tick + 0.003 * i, value)
    return trace


def test_on_a_cpu_a_gap_begins_with_the_last_reading_of_work() -> None:
    trace = _cpu_trace([98.0] * 5 + [0.0] * 4 + [98.0] * 8, [5.0] * 17)
    (gap,) = cpu_gaps(trace, PIDS)
    assert (gap.device, gap.phase) == ("cpu", "self-play")
    assert (gap.start_s, gap.end_s) == (pytest.approx(1.6), pytest.approx(3.2))


def test_on_a_cpu_one_process_at_work_is_no_gap() -> None:
    idle = [98.0] * 5 + [0.0] * 8 + [98.0] * 4
    trace = _cpu_trace(idle, [CPU_IDLE_PERCENT + 1] * 17)
    assert not cpu_gaps(trace, PIDS)
    assert cpu_gaps(trace, PIDS[:1])
    assert not cpu_gaps(trace, [])


def test_on_a_cpu_what_was_not_sampled_is_no_gap() -> None:
    unknown: list[float | None] = [98.0] * 5 + [None] * 8 + [98.0] * 4
    trace = _cpu_trace(unknown)
    assert not cpu_gaps(trace, PIDS)


def _gap_check(
    trace: Trace, uuids: list[str], expectation: Expectation = EXPECTATIONS["idle-gap"]
) -> Check:
    report = reports.of_trace(trace)
    return no_idle_gaps(report, uuids, windows(trace, trace.spans), expectation)


def test_no_idle_gap_passes_and_fails() -> None:
    assert _gap_check(_two_phases([90.0] * 51), [UUID]).status is Status.PASS
    check = _gap_check(_two_phases([90.0] * 22 + [0.0] * 8 + [90.0] * 20), [UUID])
    assert check.status is Status.FAIL
    assert check.valid
    assert check.observation == "1 gap, the longest 1.4 s (self-play → training)"
    values = [0.0] * 7 + [90.0] * 15 + [0.0] * 10 + [90.0] * 19
    two = _gap_check(_two_phases(values), [UUID])
    assert two.observation.startswith("2 gaps, the longest 1.8 s")
    assert len(two.evidence) == 2


def test_no_gap_seen_is_no_pass_where_one_could_hide() -> None:
    holed = _gap_check(_two_phases([90.0] * 20 + [None] * 10 + [90.0] * 21), [UUID])
    assert holed.status is Status.INCONCLUSIVE
    assert holed.observation == "samples without a hole: longest 2.2 s, needed ≤ 1 s"
    assert _gap_check(_two_phases([]), [UUID]).status is Status.INCONCLUSIVE
    blind = _gap_check(_two_phases([90.0] * 51), [])
    assert (blind.status, blind.observation) == (Status.INCONCLUSIVE, "no GPU was sampled")
    phaseless = _gap_check(reports.trace([90.0] * 51), [UUID])
    assert phaseless.observation == "no phase in which the GPU should work"
    brief = reports.trace([90.0] * 10, [Span("self-play", 100.0, 101.8)])
    assert _gap_check(brief, [UUID]).status is Status.INCONCLUSIVE


def test_a_longer_threshold_allows_no_longer_hole() -> None:
    trace = _two_phases([90.0] * 20 + [None] * 10 + [90.0] * 21)
    lenient = with_overrides(["idle-gap=..5"])["idle-gap"]
    assert _gap_check(trace, [UUID], lenient).status is Status.INCONCLUSIVE
