import pytest

import reports
from blobdiag.diagnosis.findings import (
    cpu_oversubscription,
    device_not_propagated,
    find_all,
    idle_gap_between_phases,
    search_collapsed,
    tiny_batches,
)
from blobdiag.reporting.model import IdleGap

GAP = IdleGap(gpu=reports.UUID, start_s=39.5, end_s=41.6, phase="self-play → training")


def test_device_not_propagated() -> None:
    workers = [reports.worker(0), reports.worker(1, "cpu"), reports.worker(2, "cpu")]
    finding = device_not_propagated(workers, "cuda", [reports.check()])
    assert finding is not None
    assert finding.title.startswith("2 of 3 workers")
    assert "load_state_dict" in finding.cause
    assert "network.to(device)" in finding.remedy
    assert finding.evidence == [
        "worker 1 (pid 4000002): parameters on cpu, bfloat16",
        "worker 2 (pid 4000003): parameters on cpu, bfloat16",
        "self-play GPU utilisation: mean 83 %",
    ]


def test_device_propagated() -> None:
    assert device_not_propagated([reports.worker(0)], "cuda") is None
    assert device_not_propagated([reports.worker(0, "cpu")], "cpu") is None
    # Another GPU is wrong too, but it is not this cause.
    assert device_not_propagated([reports.worker(0, "cuda:1")], "cuda:0") is None
    assert device_not_propagated([], "cuda") is None


def test_the_cpu_s_arm_of_a_comparison_is_where_it_belongs() -> None:
    mine = reports.worker(0).model_copy(update={"threads": 4, "intra_op_threads": 1})
    theirs = reports.worker(1, "cpu").model_copy(
        update={"device_asked": "cpu", "threads": 4, "intra_op_threads": 1}
    )
    assert device_not_propagated([mine, theirs], "cuda") is None
    # They take turns: four threads on four cores, not eight.
    assert cpu_oversubscription([mine, theirs], 4) is None
    assert cpu_oversubscription([mine, theirs], 3) is not None
    lost = mine.model_copy(update={"state": "lost"})
    assert cpu_oversubscription([mine, lost], 4) is None


@pytest.mark.parametrize(
    ("share", "found"), [(0.03, True), (0.22, True), (0.99, False), (None, False)]
)
def test_search_collapsed(share: float | None, found: bool) -> None:
    health = reports.health(distinct_share=share, reason="not counted")
    finding = search_collapsed([reports.throughput(search_health=health)])
    assert (finding is not None) is found


@pytest.mark.parametrize(
    ("device", "batch", "found"),
    [
        ("cuda:0", 1.0, True),
        ("cuda:0", 20.0, True),
        ("cuda:0", 20.1, False),
        ("cuda:0", None, False),
        ("cpu", 1.0, False),
    ],
)
def test_tiny_batches(device: str, batch: float | None, found: bool) -> None:
    assert (tiny_batches([reports.throughput(device, mean_batch=batch)]) is not None) is found


@pytest.mark.parametrize(
    ("workers", "threads", "intra", "cores", "found"),
    [(2, 1, 1, 2, False), (2, 1, 2, 2, True), (1, 3, 1, 2, True), (16, 1, 1, 16, False)],
)
def test_cpu_oversubscription(
    workers: int, threads: int, intra: int, cores: int, found: bool
) -> None:
    records = [reports.worker(i, threads=threads, intra_op_threads=intra) for i in range(workers)]
    assert (cpu_oversubscription(records, cores) is not None) is found


def test_idle_gap() -> None:
    finding = idle_gap_between_phases([GAP])
    assert finding is not None
    assert "2.1 s" in finding.title
    assert "self-play → training" in finding.evidence[0]
    assert idle_gap_between_phases([]) is None


def test_find_all_finds_each_and_in_a_healthy_run_none() -> None:
    assert find_all("cuda", [reports.worker()], [reports.throughput()], [], [], 2) == []
    sick = reports.throughput(mean_batch=3.0, search_health=reports.health(distinct_share=0.1))
    worker = reports.worker(0, "cpu", intra_op_threads=8)
    found = find_all("cuda", [worker], [sick], [GAP], [], 2)
    assert [finding.name for finding in found] == [
        "device-not-propagated",
        "search-collapsed",
        "idle-gap-between-phases",
        "tiny-batches",
        "cpu-oversubscription",
    ]
