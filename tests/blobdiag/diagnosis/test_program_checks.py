"""The checks of watched programs, on scripted reports."""

from __future__ import annotations

import pytest
from watched import UUID, calls, on_gpu, process, training, watched
from watched_programs import HEALTHY, SICK

import reports
from blobdiag.diagnosis.checks.program import DEVICE_CHECK
from blobdiag.diagnosis.commands.run import program_checks
from blobdiag.diagnosis.verdict import verdict
from blobdiag.model.base import Role, Status
from blobdiag.model.judgement import Check
from blobdiag.model.program import ProcessRecord
from blobdiag.model.report import Report

MARKED = {"self-play": (4.0, 18.0), "training": (18.0, 29.0)}
TRAINER = on_gpu(0, training("cuda:0"))


def jax(opened: bool | None = True) -> ProcessRecord:
    return process(
        0,
        libraries=["cuda", "jax"] if opened else ["jax"],
        torch=None,
        driver_opened=opened,
        reason="jax: its calls are not counted inside: only torch's modules are",
    )


def device(report: Report) -> Check:
    first = program_checks(report)[0]
    assert (first.name, first.role) == (DEVICE_CHECK, Role.DECIDING)
    return first


def test_a_report_without_a_program_has_no_check() -> None:
    assert program_checks(reports.minimal()) == []


# The device


def test_all_forwards_on_the_device_pass() -> None:
    check = device(HEALTHY["a pool on the GPU"])
    assert check.status is Status.PASS
    assert check.valid
    assert check.observation == "40,500 calls of 3 processes on cuda"
    assert len(check.evidence) == 3
    assert check.source == "--expect-device cuda"


def test_tries_and_stray_evaluations_are_named() -> None:
    check = device(HEALTHY["an evaluation on the CPU in the parent"])
    assert check.status is Status.PASS
    assert check.observation.endswith("on cuda, except 40 trial calls")
    assert device(HEALTHY["a network tried out before it is moved"]).status is Status.PASS


@pytest.mark.parametrize("name", SICK["device-not-propagated"])
def test_the_bug_fails_with_the_table_of_processes(name: str) -> None:
    check = device(SICK["device-not-propagated"][name])
    assert check.status is Status.FAIL
    assert check.valid
    assert "on cpu" in check.observation
    assert all("game.net.PolicyValueNet on cpu" in line for line in check.evidence)
    assert verdict([check])[1] == 1


def test_few_calls_decide_nothing() -> None:
    check = device(watched([process(0, calls(number=9))], expect="cuda"))
    assert check.status is Status.FAIL
    assert not check.valid
    assert verdict([check])[1] == 3


def test_what_is_on_a_gpu_is_off_a_cpu_that_was_asked_for() -> None:
    assert device(watched([TRAINER], expect="cpu", gpu=True)).status is Status.FAIL
    assert device(watched([process(0, calls())], expect="cpu")).status is Status.PASS


@pytest.mark.parametrize(
    "silent",
    [
        {"instrumented": False, "reason": "--no-instrument"},
        {"reason": "an error inside turned it off"},
        {"modules_left_out": 7},
        {"instrumented": False, "reason": None, "cpu_seconds": None},
    ],
)
def test_what_was_not_counted_to_its_end_never_passes(silent: dict[str, object]) -> None:
    more = process(3, **silent)
    report = watched([TRAINER, on_gpu(1, calls("cuda:0")), more], expect="cuda", gpu=True)
    check = device(report)
    assert check.status is Status.INCONCLUSIVE
    assert check.observation == "1 process with torch not counted to the end"
    assert "pid 4003" in check.evidence[0]
    # But what was seen elsewhere still fails.
    off = watched([TRAINER, process(1, calls("cpu")), more], expect="cuda", gpu=True)
    assert device(off).status is Status.FAIL


def test_a_helper_that_hardly_computes_need_not_be_counted() -> None:
    helper = process(3, instrumented=False, reason="why is not known", cpu_seconds=0.1)
    assert device(watched([TRAINER, helper], expect="cuda", gpu=True)).status is Status.PASS


def test_nothing_called_is_inconclusive() -> None:
    check = device(watched([process(0, unseen=["dynamo"])], expect="cuda"))
    assert check.status is Status.INCONCLUSIVE
    assert check.observation == "torch was loaded, but no network was called"
    assert check.evidence == ["process (pid 4000): not counted in it: dynamo"]
    bare = process(0, libraries=[], torch=None, python=None, command="sleep 1")
    assert device(watched([bare], expect="cuda")).status is Status.INCONCLUSIVE


def test_without_an_expectation_only_a_machine_with_a_gpu_asks_for_one() -> None:
    assert device(watched([process(0, calls())])).status is Status.NOT_APPLICABLE
    check = device(watched([process(0, calls())], gpu=True))
    assert check.status is Status.INCONCLUSIVE
    assert "--expect-device" in check.observation


@pytest.mark.parametrize(
    ("opened", "listed", "expect", "status"),
    [
        (True, {0: 3_000.0}, "cuda", Status.PASS),
        (True, {}, "cuda", Status.INCONCLUSIVE),
        (None, {}, "cuda", Status.INCONCLUSIVE),
        (False, {}, "cuda", Status.FAIL),
        (False, {}, "cpu", Status.PASS),
        (True, {}, "cpu", Status.INCONCLUSIVE),
    ],
)
def test_a_program_without_forwards_is_judged_from_outside_and_says_so(
    opened: bool | None, listed: dict[int, float], expect: str, status: Status
) -> None:
    program = jax(opened).model_copy(update={"instrumented": False, "reason": None})
    check = device(watched([program], expect=expect, gpu=True, listed=listed))
    assert check.status is status
    assert "judged by libraries, the driver's files and the GPU" in check.observation
    assert "jax" in check.evidence[0]


# What the GPUs do


def of_the_gpu(report: Report) -> dict[str, Check]:
    return {check.name: check for check in program_checks(report)[1:]}


def test_marked_phases_decide() -> None:
    report = watched([TRAINER, on_gpu(1, calls("cuda:0"))], gpu=True, phases=MARKED)
    checks = of_the_gpu(report)
    assert {name: (c.role, c.status) for name, c in checks.items()} == {
        "self-play GPU utilisation": (Role.DECIDING, Status.PASS),
        # 85 %, and 90 are expected of training.
        "training GPU utilisation": (Role.DECIDING, Status.FAIL),
        "no idle gap": (Role.DECIDING, Status.PASS),
    }


def test_without_markers_nothing_says_that_a_gpu_must_work() -> None:
    report = watched([on_gpu(0, calls("cuda:0"))], gpu=True, utilisation=20.0, gaps=[(5.0, 9.0)])
    checks = of_the_gpu(report)
    assert {name: (c.role, c.status) for name, c in checks.items()} == {
        "whole run GPU utilisation": (Role.ADVISORY, Status.FAIL),
        "no idle gap": (Role.ADVISORY, Status.FAIL),
    }
    assert checks["no idle gap"].observation == "1 gap, the longest 4.0 s (None)"
    assert checks["no idle gap"].evidence[0].startswith(UUID)


def test_a_gap_that_could_not_be_seen_is_not_absent() -> None:
    report = watched([TRAINER], gpu=True, phases=MARKED)
    for blind in (
        {"seconds_shortest_visible_gap": None},
        {"seconds_shortest_visible_gap": 1.5},
        {"series": [s for s in report.series if not s.name.startswith("gpu/")]},
    ):
        check = of_the_gpu(report.model_copy(update=blind))["no idle gap"]
        assert check.status is Status.INCONCLUSIVE
        assert not check.valid


@pytest.mark.parametrize(
    "report",
    [
        watched([process(0, calls())], expect="cpu", gpu=True),
        watched([process(0, calls())]),
        watched([process(0, calls())], gpu=True),
    ],
)
def test_where_no_gpu_is_used_nothing_is_asked_of_it(report: Report) -> None:
    checks = of_the_gpu(report).values()
    assert {check.status for check in checks} == {Status.NOT_APPLICABLE}


def test_a_gpu_that_is_missing_is_not_known() -> None:
    checks = of_the_gpu(watched([process(0, calls())], expect="cuda")).values()
    assert {check.status for check in checks} == {Status.INCONCLUSIVE}
