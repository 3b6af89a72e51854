"""The rules of evidence: each kept, each broken, each said in the headline."""

from __future__ import annotations

from typing import Any

import pytest

import reports
from blobdiag.diagnosis.checks.common import with_validity
from blobdiag.diagnosis.validity import (
    CONSEQUENCES,
    Neighbours,
    training_rules,
    warning,
    window_rules,
    window_validity,
)
from blobdiag.model.base import Interval, Status, Stretch
from blobdiag.model.judgement import Validity
from blobdiag.model.machine import Gpu
from blobdiag.sampling.trace import Span, Trace

RATE = reports.throughput().evaluations_per_second
SOUND: dict[str, Any] = {
    "window_seconds": 10.0,
    "needed_seconds": 10.0,
    "games": 20,
    "needed_games": 20,
    "warm_up_seconds": 2.0,
    "rate": RATE,
    "samples": 25,
}


def _broken(**changes: Any) -> dict[str, Validity]:
    return {rule.rule: rule for rule in window_validity(**SOUND | changes) if not rule.ok}


def test_a_sound_window_keeps_every_rule() -> None:
    assert _broken() == {}
    assert len(window_validity(**SOUND)) == 7
    assert _broken(throttled=[], foreign_processes=[], neighbours=Neighbours(0.1, 2, 99.0)) == {}


@pytest.mark.parametrize(
    ("change", "rule", "observed"),
    [
        ({"window_seconds": 5.0}, "window long enough", "5.0 s"),
        ({"games": 10}, "enough games finished", "10 in 10.0 s"),
        ({"samples": 9}, "enough samples", "9"),
        ({"warm_up_seconds": 0.0}, "warm-up excluded", "0.0 s before the window"),
        ({"sampler_death": "exit code -9"}, "failure of the sampler", "exit code -9"),
        ({"lost_workers": [3]}, "lost workers", "worker 3"),
        ({"throttled": ["power brake"]}, "throttling", "power brake"),
        ({"foreign_processes": ["pid 7"]}, "other processes on the GPU", "pid 7"),
        (
            {"neighbours": Neighbours(0.9, 2, 99.0)},
            "no busy neighbour",
            "other processes used 0.9 cores, the host was 99 % busy",
        ),
        (
            {"rate": RATE.model_copy(update={"interval": Interval(low=33_000, high=47_000)})},
            "steady rate",
            "± 17.5%",
        ),
        (
            {"rate": RATE.model_copy(update={"interval": None, "reason": "only 2 blocks"})},
            "steady rate",
            "unknown: only 2 blocks",
        ),
    ],
)
def test_each_rule_of_a_window_can_be_broken(
    change: dict[str, Any], rule: str, observed: str
) -> None:
    assert {name: one.observed for name, one in _broken(**change).items()} == {rule: observed}


def test_a_neighbour_that_leaves_cores_idle_does_no_harm() -> None:
    assert _broken(neighbours=Neighbours(20.0, 2, 40.0)) == {}


def test_what_a_short_window_would_need() -> None:
    few = _broken(window_seconds=5.0, games=10)["enough games finished"]
    assert few.needed == "≥ 20; measure about 12 s"
    none = _broken(games=0)["enough games finished"]
    assert "fewer simulations" in none.needed


def test_with_validity_invalidates_a_check() -> None:
    check = reports.check()
    assert check.valid
    assert with_validity(check, window_validity(**SOUND)).valid
    assert not with_validity(check, window_validity(**SOUND | {"window_seconds": 1.0})).valid


def test_a_check_that_does_not_apply_is_never_invalid() -> None:
    short = window_validity(**SOUND | {"window_seconds": 1.0})
    absent = reports.check(Status.NOT_APPLICABLE)
    assert with_validity(absent, short).validity == absent.validity


@pytest.mark.parametrize("rule", CONSEQUENCES)
def test_each_broken_rule_is_said_in_the_headline(rule: str) -> None:
    broken = Validity(rule=f"cuda:0: {rule}", observed="1.9 of it", needed="less", ok=False)
    kept = broken.model_copy(update={"ok": True})
    assert warning([kept]) == ""
    assert warning([kept, broken]) == f"Warning: cuda:0: {CONSEQUENCES[rule]} (1.9 of it)."


# From a report


GPUS = [Gpu(uuid="GPU-aaaa", name="H"), Gpu(uuid="GPU-bbbb", name="H")]


@pytest.mark.parametrize(
    ("listed", "memory", "seen"),
    [
        ({31: 900.0}, None, "none"),
        ({31: 900.0, 77: 5.0}, None, "pid 77"),
        ({4031: 900.0}, None, None),
        ({4031: 900.0}, 500.0, "none"),
        ({4031: 900.0, 4077: 9000.0}, 500.0, "pid 4077 (ours matched by memory)"),
        ({}, 500.0, None),
    ],
)
def test_foreign_processes(
    listed: dict[int, float], memory: float | None, seen: str | None
) -> None:
    """With one worker of PID 31 on the first GPU, that says it holds `memory` MiB."""
    trace = Trace(start=0, spans=[Span("self-play", 0.0, 10.0, "cuda:0")])
    for uuid, processes in {"GPU-aaaa": listed, "GPU-bbbb": {99: 1.0}}.items():
        for pid, mib in processes.items():
            trace.add(f"gpu/{uuid}/process/{pid}/memory", "MiB", 5.0, mib)
    worker = reports.worker(pid=31, device_uuid="GPU-AAAA", gpu_memory_mib=memory)
    throughput = reports.throughput(windows=[Stretch(start_s=0.0, end_s=10.0)])
    report = reports.of_trace(
        trace, device="cuda:0", gpus=GPUS, workers=[worker], throughput=[throughput], pid=1
    )
    rules = {rule.rule: rule.observed for rule in window_rules(report, throughput, 1.0, 1)}
    assert rules.get("other processes on the GPU") == seen


@pytest.mark.parametrize(("ours", "kept"), [(97.0, False), (195.0, True)])
def test_training_beside_a_busy_neighbour(ours: float, kept: bool) -> None:
    """Two full cores, of which this process has one, or both."""
    trace = Trace(start=0, spans=[Span("training", 10.0, 20.0)])
    for second in range(30):
        trace.add("host/cpu", "%", float(second), 100.0)
        trace.add("process/1/cpu", "%", float(second), ours if second >= 10 else 200.0)
    machine = reports.minimal().machine.model_copy(update={"cores_total": 2})
    report = reports.of_trace(trace, pid=1, machine=machine)
    [rule] = training_rules(report)
    assert rule.rule == "no busy neighbour in training"
    assert rule.ok is kept
    trace.spans[0].name = "self-play"
    assert training_rules(reports.of_trace(trace, pid=1, machine=machine)) == []
