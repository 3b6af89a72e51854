"""How busy a GPU was in a phase."""

from __future__ import annotations

import pytest

import reports
from blobdiag.diagnosis.checks.utilisation import gpu_utilisation
from blobdiag.diagnosis.expectations import EXPECTATIONS
from blobdiag.diagnosis.facts import spans
from blobdiag.model.base import Status
from blobdiag.model.judgement import Check
from blobdiag.sampling.trace import Span, Trace

UUID = reports.UUID
OTHER = "GPU-other"


def _utilisation(trace: Trace, uuids: list[str], reason: str | None = None) -> Check:
    report, expectation = reports.of_trace(trace), EXPECTATIONS["self-play-gpu"]
    return gpu_utilisation(
        report, uuids, "self-play", spans(report, "self-play"), expectation, reason
    )


def _self_play(values: list[float | None]) -> Trace:
    """A phase that ends with the last sample; the second before it belongs to another phase."""
    end = 100.0 + 0.2 * (len(values) - 1)
    return reports.trace(values, [Span("start-up", 99.0, 100.0), Span("self-play", 100.0, end)])


@pytest.mark.parametrize(
    ("level", "status"), [(99.0, Status.PASS), (70.0, Status.PASS), (5.0, Status.FAIL)]
)
def test_utilisation(level: float, status: Status) -> None:
    check = _utilisation(_self_play([level] * 40), [UUID])
    assert check.status is status
    assert f"{level:.0f} %" in check.observation
    assert check.valid


def test_utilisation_leaves_out_what_nvml_still_remembers() -> None:
    # The first second still shows the phase before; with it the mean would be 65 %.
    check = _utilisation(_self_play([0.0] * 5 + [75.0] * 35), [UUID])
    assert check.status is Status.PASS


def test_the_lowest_gpu_decides() -> None:
    trace = _self_play([90.0] * 40)
    for time in trace.samples[f"gpu/{UUID}/utilization"].times:
        trace.add(f"gpu/{OTHER}/utilization", "%", time, 10.0)
    both = _utilisation(trace, [UUID, OTHER])
    assert both.status is Status.FAIL
    assert both.observation == "lowest mean of 2 GPUs 10 %"
    alone = _utilisation(trace, [UUID])
    assert alone.status is Status.PASS
    assert alone.observation == "mean 90 %"
    assert _utilisation(trace, [UUID, "GPU-never-sampled"]).status is Status.INCONCLUSIVE


def test_short_window_says_how_long_would_do() -> None:
    check = _utilisation(_self_play([0.0] * 15), [UUID])
    assert check.status is Status.INCONCLUSIVE
    assert check.observation == "phase long enough: 2.8 s, needed ≥ 5 s"


@pytest.mark.parametrize(("samples", "status"), [(10, Status.PASS), (9, Status.INCONCLUSIVE)])
def test_just_enough_samples_in_just_enough_time(samples: int, status: Status) -> None:
    trace = Trace(start=0.0, spans=[Span("self-play", 0.0, 5.0)])
    for i in range(samples):
        trace.add(f"gpu/{UUID}/utilization", "%", 1.0 + 0.4 * i, 90.0)
    assert _utilisation(trace, [UUID]).status is status


def test_utilisation_unknown_is_inconclusive() -> None:
    few = _self_play([99.0] * 9 + [None] * 40)
    assert "enough samples: 4" in _utilisation(few, [UUID]).observation
    never = _self_play([None] * 40)
    never.unsupported[f"gpu/{UUID}/utilization"] = "NVML: not supported"
    assert _utilisation(never, [UUID]).observation == "NVML: not supported"
    assert _utilisation(_self_play([99.0] * 40), []).status is Status.INCONCLUSIVE
    no_phase = reports.trace([99.0] * 40)
    assert _utilisation(no_phase, [UUID]).status is Status.INCONCLUSIVE


def test_utilisation_does_not_apply_on_a_cpu() -> None:
    check = _utilisation(_self_play([0.0] * 40), [UUID], "the device is cpu")
    assert check.status is Status.NOT_APPLICABLE
    assert check.observation == "the device is cpu"
