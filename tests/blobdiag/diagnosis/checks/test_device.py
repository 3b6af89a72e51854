"""Whether the device reached every worker."""

from __future__ import annotations

import reports
from blobdiag.diagnosis.checks.device import device_reaches_workers
from blobdiag.model.base import Role, Status


def test_device_reaches_every_worker() -> None:
    check = device_reaches_workers([reports.worker(0), reports.worker(1, "cuda:1")], "cuda")
    assert check.status is Status.PASS
    assert check.role is Role.DECIDING


def test_every_wrong_worker_is_one_line_of_evidence() -> None:
    workers = [
        reports.worker(0),
        reports.worker(1, "cpu"),
        reports.worker(2, parameter_devices=["cuda:0", "cpu"]),
        reports.worker(3, output_device="cpu"),
    ]
    check = device_reaches_workers(workers, "cuda:0")
    assert check.status is Status.FAIL
    assert check.observation == "3 of 4 workers are not on cuda:0"
    assert check.evidence[1] == (
        "worker 2 (pid 4000003): asked cuda:0, parameters on cuda:0, cpu, output on cuda:0"
    )
    assert [line.split(":")[0] for line in check.evidence] == [
        f"worker {i} (pid {4_000_001 + i})" for i in (1, 2, 3)
    ]


def test_device_unknown_is_inconclusive() -> None:
    assert device_reaches_workers([], "cuda").status is Status.INCONCLUSIVE
    check = device_reaches_workers([reports.worker(parameter_devices=[])], "cuda")
    assert check.status is Status.INCONCLUSIVE
    assert "parameters on not reported" in check.evidence[0]


def test_an_engine_s_own_word_is_said_to_be_that() -> None:
    seen, named = reports.worker(0), reports.worker(1, batches=None)
    assert device_reaches_workers([seen, seen], "cuda").observation == "all of 2 workers on cuda"
    check = device_reaches_workers([seen, named], "cuda")
    assert check.status is Status.PASS
    assert check.observation == (
        "all of 2 workers on cuda (1 only as reported by the engine: no forward call was counted "
        "in them)"
    )


def test_proof_on_meta_is_said() -> None:
    check = device_reaches_workers([reports.worker(0, "meta")], "meta", on_meta=True)
    assert check.status is Status.PASS
    assert "meta device" in check.observation
