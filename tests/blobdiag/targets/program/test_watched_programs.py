"""Real PyTorch programs under `blobdiag run`, in the shapes people have: what is found in each."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import psutil
import pytest
from watched_runs import PROGRAMS, Run, python, run

from blobdiag.diagnosis.causes.gil_bound_threads import IDLE_CORES_PERCENT
from blobdiag.diagnosis.facts import mean
from blobdiag.model import names
from blobdiag.model.base import Status

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")

PLAYED = 600
"""Calls of ending.py: 20 games of 30 moves."""
OWN_SITE = PROGRAMS / "own_site"


# The bug itself, and the same program without it


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("lost"), python("pool.py", "--device", "cuda"), "--judge")


def test_the_lost_device_is_found_by_the_command_line_s_own_words(lost: Run) -> None:
    assert lost.output == "2400 examples\n"
    assert lost.found == {"device-not-propagated", "tiny-batches"}
    check = lost.device_check
    assert (check.status, check.source) == (Status.FAIL, "--device cuda")
    assert lost.code == lost.report.exit_code == 1
    [finding] = [f for f in lost.report.findings if f.name == "device-not-propagated"]
    assert finding.title.startswith("2 of 2 worker processes run their network on the CPU")
    assert "network.to(device)" in finding.remedy


def test_every_call_of_every_worker_is_counted_where_it_was_made(lost: Run) -> None:
    parent, *workers = [p for p in lost.processes if p.modules]
    assert {w.parent_pid for w in workers} == {parent.pid}
    for worker in workers:
        [called] = worker.modules
        assert called.module == "small_game.PolicyValueNet"
        assert (called.parameter_device, called.calls, called.mean_batch) == ("cpu", 1200, 1.0)
        assert (called.train_mode, called.grad_enabled) == (False, False)
        assert called.intra_op_threads == 1
    [training] = parent.modules
    assert (training.calls, training.mean_batch) == (30, 2400.0)
    assert (training.train_mode, training.grad_enabled) == (True, True)
    evidence = " ".join(lost.report.findings[0].evidence)
    assert all(f"worker (pid {worker.pid})" in evidence for worker in workers)


def test_the_fixed_pool_passes_on_the_device_that_was_asked_for(tmp_path: Path) -> None:
    fixed = run(tmp_path, python("pool.py", "--device", "cpu", "--fixed"), "--judge")
    assert fixed.device_check.status is Status.PASS
    assert fixed.device_check.source == "--device cpu"
    assert fixed.code == 0
    assert fixed.found == set()


def test_nothing_is_found_in_a_healthy_pool_of_forked_workers(tmp_path: Path) -> None:
    pool = run(tmp_path, python("pool.py", "--start", "fork", "--games", "192", "--at-once", "64"))
    assert pool.code == 0
    assert pool.output == "11520 examples\n"
    assert pool.found == set()
    parent, *workers = [p for p in pool.processes if p.modules]
    assert [p.start_method for p in workers] == ["fork", "fork"]
    assert [pool.calls()[p.pid] for p in (parent, *workers)] == [{"cpu": 30}] + 2 * [{"cpu": 90}]


# Other architectures


@pytest.mark.slow  # a neighbour on the cores hides what is looked for
def test_threads_that_share_a_network_share_a_core(tmp_path: Path) -> None:
    threads = run(tmp_path, python("threads_gil.py", "--seconds", "5", "--threads", "8"))
    host = mean(threads.report, [names.HOST_CPU], [(0.0, threads.report.seconds)])
    if host is not None and host > IDLE_CORES_PERCENT:
        pytest.skip("others keep the cores busy: the lock cannot be told from them")
    assert threads.found == {"gil-bound-threads"}
    [process] = [p for p in threads.processes if p.modules]
    # The main thread calls it once beforehand.
    assert process.modules[0].threads == 9
    assert max(process.modules[0].batch_histogram) == 8


@pytest.mark.slow  # a neighbour on the cores hides what is looked for
def test_a_server_behind_queues_is_found(tmp_path: Path) -> None:
    queue = run(tmp_path, python("queue_server.py", "--seconds", "6"))
    assert queue.found == {"queue-bound-server"}
    [finding] = queue.report.findings
    assert finding.title.startswith("2 processes wait for one that evaluates")


@pytest.mark.slow  # a neighbour on the cores hides what is looked for
def test_training_under_torchrun_is_healthy(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    both = run(tmp_path, [*torchrun, str(PROGRAMS / "distributed.py")], "--expect-device", "cpu")
    assert both.code == 0
    assert both.found == set()
    assert list(both.calls().values()) == [{"cpu": 30}, {"cpu": 30}]
    assert both.device_check.status is Status.PASS


def test_a_program_without_torch_has_none_in_its_report(tmp_path: Path) -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1)'])"
    other = run(tmp_path, [sys.executable, "-c", child], "--expect-device", "cuda", "--judge")
    assert (other.code, other.output) == (3, "1\n")
    assert other.found == set()
    assert other.calls() == {}
    assert other.device_check.status is Status.INCONCLUSIVE
    assert "no process loaded torch" in other.device_check.observation


# However it ends, and whatever it does to its start


def test_a_program_that_crashes_leaves_its_calls_and_runs_its_own_sitecustomize(
    tmp_path: Path,
) -> None:
    own = f"PYTHONPATH=$PYTHONPATH:{shlex.quote(str(OWN_SITE))} exec "
    crashed = run(tmp_path, ["sh", "-c", own + shlex.join(python("ending.py", "raise"))])
    assert crashed.code == 1
    assert crashed.output == "own sitecustomize\nplayed\n"
    assert "ValueError: no such move" in crashed.errors
    assert list(crashed.calls().values()) == [{"cpu": PLAYED}]
    assert crashed.found == set()


def test_a_program_that_is_killed_leaves_its_calls(tmp_path: Path) -> None:
    killed = run(tmp_path, python("ending.py", "kill"), "--expect-device", "cpu", "--judge")
    assert killed.code == 128 + signal.SIGKILL
    assert killed.report.program is not None
    assert killed.report.program.signal == signal.SIGKILL
    assert list(killed.calls().values()) == [{"cpu": PLAYED}]
    assert killed.device_check.status is Status.PASS
    assert killed.found == set()


def test_a_process_that_replaces_the_way_in_is_named_and_never_passes(tmp_path: Path) -> None:
    path = python("own_site/replaces_path.py")
    replaced = run(tmp_path, path, "--expect-device", "cpu", "--judge")
    assert replaced.output == "own sitecustomize\nplayed\n"
    assert replaced.found == {"uninstrumented"}
    assert "another PYTHONPATH" in replaced.report.findings[0].evidence[0]
    assert replaced.device_check.status is Status.INCONCLUSIVE
    assert replaced.code == 3


def test_nothing_outlives_a_program(lost: Run) -> None:
    assert not any(psutil.pid_exists(process.pid) for process in lost.processes)
