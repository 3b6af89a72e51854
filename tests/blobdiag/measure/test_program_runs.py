"""Programs of other architectures, run for real under the sampler, and what is found in them."""

from __future__ import annotations

import psutil
import pytest
from program_runs import run_program

from blobdiag.diagnosis.causes import find_all
from blobdiag.diagnosis.facts import mean, stage_shares, windows
from blobdiag.model.report import Report

pytestmark = pytest.mark.slow  # each needs cores that are free

SECONDS = 5.0


def found(report: Report) -> set[str]:
    return {finding.name for finding in find_all(report)}


def rate(report: Report) -> float:
    return report.throughput[0].evaluations_per_second.value or 0.0


def cpu(report: Report, pid: int) -> float:
    used = mean(report, [f"process/{pid}/cpu"], windows(report))
    assert used is not None
    return used


@pytest.fixture(scope="module")
def threads() -> dict[int, Report]:
    """By the number of threads."""
    return {
        n: run_program("threads_gil", "--seconds", str(SECONDS), "--threads", str(n))
        for n in (8, 1)
    }


@pytest.fixture(scope="module")
def queue() -> Report:
    return run_program("queue_server", "--seconds", str(SECONDS))


def test_threads_under_the_interpreter_s_lock_are_found(threads: dict[int, Report]) -> None:
    many, one = threads[8], threads[1]
    [worker] = many.workers
    assert worker.threads == 8
    assert worker.batch_histogram == {8: worker.batches}
    assert worker.evaluations == 8 * worker.batches > 1000
    assert 60 <= cpu(many, worker.pid) <= 150
    assert rate(many) < 1.4 * rate(one), "eight threads are no faster than one"
    assert stage_shares(many.workers)["wait"] > 0.6
    assert stage_shares(one.workers)["wait"] < 0.2
    assert sum(worker.stage_seconds.values()) == pytest.approx(8 * SECONDS, rel=0.15)


def test_a_server_behind_a_queue_is_found(queue: Report) -> None:
    *workers, server = queue.workers
    assert [w.serves for w in queue.workers] == [False, False, True]
    assert len({w.pid for w in queue.workers}) == 3
    assert server.mean_batch is not None
    assert 9 <= server.mean_batch <= 13
    assert max(server.batch_histogram) == 16
    assert sum(server.batch_histogram.values()) == server.batches
    # What was on its way when the window ended is the difference.
    assert sum(w.evaluations for w in workers) == pytest.approx(server.evaluations, abs=16)
    assert stage_shares(workers)["wait"] > 0.5
    assert "queue-bound-server" in found(queue)


def test_each_is_found_where_it_is_and_only_there(
    threads: dict[int, Report], queue: Report
) -> None:
    assert found(threads[8]) == {"gil-bound-threads"}
    assert found(threads[1]) == set()
    assert found(queue) == {"queue-bound-server"}


def test_nothing_outlives_a_program(threads: dict[int, Report], queue: Report) -> None:
    pids = [w.pid for report in (*threads.values(), queue) for w in report.workers]
    assert not any(psutil.pid_exists(pid) for pid in pids)
