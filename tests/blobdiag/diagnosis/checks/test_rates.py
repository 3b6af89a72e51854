"""Speed-up, search health, agreement, starvation, advisory ranges."""

from __future__ import annotations

import pytest

import reports
from blobdiag.diagnosis.checks.machine import advisory
from blobdiag.diagnosis.checks.rates import outputs_agree, speedup, starved
from blobdiag.diagnosis.checks.search import search_health
from blobdiag.diagnosis.expectations import EXPECTATIONS
from blobdiag.model.base import Metric, Role, Status


@pytest.mark.parametrize(
    ("gpu_rate", "spread", "status"),
    [
        (4_000.0, 0.02, Status.PASS),
        (90_000.0, 0.02, Status.PASS),
        (2_000.0, 0.02, Status.FAIL),
        (3_100.0, 0.3, Status.INCONCLUSIVE),
    ],
)
def test_speedup(gpu_rate: float, spread: float, status: Status) -> None:
    cpu = reports.throughput("cpu", 1_000.0)
    gpu = reports.throughput("cuda:0", gpu_rate, blocks=reports.blocks(gpu_rate, spread=spread))
    check = speedup(cpu, gpu, EXPECTATIONS["speed-up"])
    assert check.status is status
    assert check.evidence[0] == "cpu: 53.9 games/min, 358 games, float32"
    assert ("advisory" in check.observation) is (gpu_rate > 10_000)


def test_speedup_without_an_interval_or_a_device_is_inconclusive() -> None:
    cpu = reports.throughput("cpu", 1_000.0)
    short = reports.throughput(blocks=reports.blocks(9_000.0, count=3, spread=0.0))
    check = speedup(cpu, short, EXPECTATIONS["speed-up"])
    assert check.status is Status.INCONCLUSIVE
    assert check.observation == "9.00 ×, but only 3 blocks: an interval needs 5"
    for pair, text in (((cpu, None), "the GPU was not"), ((None, cpu), "the CPU was not")):
        missing = speedup(*pair, EXPECTATIONS["speed-up"])
        assert missing.status is Status.INCONCLUSIVE
        assert missing.observation.startswith(text)
    lone = speedup(cpu, None, EXPECTATIONS["speed-up"], "this machine has no GPU")
    assert lone.status is Status.NOT_APPLICABLE


def test_search_health_is_judged_by_the_worst() -> None:
    good = reports.throughput("cpu")
    bad = reports.throughput(search_health=reports.health(distinct_share=0.03, deep_share=0.0))
    distinct, deep, policy = search_health([good, bad], EXPECTATIONS)
    assert (distinct.status, distinct.role) == (Status.FAIL, Role.DECIDING)
    assert (deep.status, deep.role) == (Status.FAIL, Role.ADVISORY)
    assert policy.status is Status.NOT_APPLICABLE


def test_search_health_judges_the_policy_of_trained_weights_only() -> None:
    for kl, status in ((0.5, Status.PASS), (0.0, Status.FAIL), (None, Status.INCONCLUSIVE)):
        trained = reports.health(mean_kl_nats=kl, trained_weights=True, reason="too few")
        *_, policy = search_health([reports.throughput(search_health=trained)], EXPECTATIONS)
        assert policy.status is status


def test_search_health_unknown_is_inconclusive() -> None:
    blind = reports.throughput(search_health=reports.health(distinct_share=None, reason="off"))
    distinct, *_ = search_health([reports.throughput("cpu"), blind], EXPECTATIONS)
    assert distinct.status is Status.INCONCLUSIVE
    assert "cuda:0: – (off)" in distinct.evidence
    assert {c.status for c in search_health([], EXPECTATIONS)} == {Status.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("policy", "value", "status"),
    [
        (1e-6, 1e-6, Status.PASS),
        (1e-4, 1e-4, Status.PASS),
        (1e-6, 1e-2, Status.FAIL),
        (1e-2, 1e-6, Status.FAIL),
        (float("nan"), 0.0, Status.FAIL),
        (0.0, float("nan"), Status.FAIL),
        (None, 0.0, Status.INCONCLUSIVE),
        (0.0, None, Status.INCONCLUSIVE),
    ],
)
def test_outputs_agree(policy: float | None, value: float | None, status: Status) -> None:
    assert outputs_agree(policy, value, "float32", 1e-4).status is status


def test_starved() -> None:
    expectation = EXPECTATIONS["bare-network-share"]
    assert starved(10_000.0, 100_000.0, "cuda:0", expectation).status is Status.FAIL
    assert starved(60_000.0, 100_000.0, "cuda:0", expectation).status is Status.PASS
    assert starved(None, 100_000.0, "cuda:0", expectation).status is Status.INCONCLUSIVE
    assert starved(1.0, 0.0, "cuda:0", expectation).status is Status.INCONCLUSIVE
    assert starved(0.0, 100_000.0, "cuda:0", expectation).status is Status.FAIL
    on_cpu = starved(10_000.0, 100_000.0, "cpu", expectation)
    assert (on_cpu.role, on_cpu.name) == (Role.ADVISORY, "CPU not starved")
    on_gpu = starved(10_000.0, 100_000.0, "cuda:0", expectation)
    assert (on_gpu.role, on_gpu.name) == (Role.DECIDING, "GPU not starved")
    assert on_gpu.observation == "0.10 of the bare network (10,000 of 100,000 evals/s)"


def test_advisory() -> None:
    vram = Metric(name="VRAM", value=2.9, unit="GB")
    check = advisory(vram, EXPECTATIONS["vram"])
    assert (check.status, check.role) == (Status.FAIL, Role.ADVISORY)
    unknown = Metric(name="VRAM", value=None, unit="GB", reason="no GPU")
    assert advisory(unknown, EXPECTATIONS["vram"]).observation == "no GPU"
    other = advisory(vram, EXPECTATIONS["cpu"])
    assert (other.status, other.observation) == (Status.INCONCLUSIVE, "it is in GB, expected in %")
