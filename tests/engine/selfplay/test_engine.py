"""SelfPlayEngine with real worker processes: same deals, devices refused, failures survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine.game.encoding import ActionMasker, StateEncoder
from engine.network.blobnet import BlobNet, NetworkConfig, build_network, weights_hash, weights_of
from engine.network.devices import DeviceError, DeviceUnavailable
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.faults import DEVICE, Injection
from engine.selfplay.pool import DeviceMismatch, WorkerFailed
from engine.selfplay.results import SelfPlayResult
from engine.selfplay.telemetry import Progress

SMALL = NetworkConfig(32, 2, 4, 64)


@pytest.fixture(scope="module")
def network() -> BlobNet:
    return build_network(SMALL, "cpu", seed=1)


class OwnEncoder(StateEncoder):
    """An encoder that the compiled search could not use."""


def first_bids(result: SelfPlayResult) -> np.ndarray:
    """The state of each game's first decision, in the order of the games."""
    games = result.examples.game
    return result.examples.states[np.flatnonzero(np.diff(games, prepend=-1))]


def test_the_same_seed_gives_the_same_deals_however_many_workers(network: BlobNet) -> None:
    results = []
    for workers, threads in ((1, 1), (2, 1), (1, 2)):
        with SelfPlayEngine(
            network,
            num_workers=workers,
            threads=threads,
            lanes=8,
            seed=4,
            simulations_per_determinization=6,
        ) as engine:
            seen: list[Progress] = []
            results.append(engine.generate_games(40, progress_callback=seen.append))
        assert results[-1].games == seen[-1].games == 40
        assert seen[0].games < 40
        assert [p.games for p in seen] == sorted(p.games for p in seen)
        assert set(results[-1].examples.game) == set(range(40))
        assert results[-1].tally["games"] == 40
        assert results[-1].tally["distinct"] == results[-1].tally["evaluations"]
    for result in results[1:]:
        np.testing.assert_array_equal(first_bids(result), first_bids(results[0]))


def test_later_calls_play_new_deals_of_any_setting(network: BlobNet) -> None:
    with SelfPlayEngine(
        network,
        StateEncoder(),
        ActionMasker(),
        num_workers=1,
        lanes=4,
        simulations_per_determinization=3,
    ) as engine:
        first, second = engine.generate_games(5), engine.generate_games(5)
        other = engine.generate_games(3, num_players=6, cards_to_deal=8)
    assert set(first.examples.game) == set(range(5))
    assert set(second.examples.game) == set(range(5, 10))
    assert other.games == 3
    assert other.examples.seats[:, :6].all()


@pytest.mark.slow
def test_counters_continue_over_orders_without_a_false_stall(network: BlobNet) -> None:
    """A second order starts with new lanes: that is no stall, and nothing is lost."""
    with SelfPlayEngine(
        network, num_workers=1, lanes=8, simulations_per_determinization=40, stall_seconds=1.5
    ) as engine:
        # Long enough that the second order's steps stay below the first's beyond the limit.
        results = [engine.generate_games(140) for _ in range(2)]
        statuses = engine.pool.statuses
        tally = engine.tally
    assert [r.games for r in results] == [140, 140]
    assert [r.events for r in results] == [[], []]
    assert [int(r.tally["games"]) for r in results] == [140, 140]
    assert min(r.seconds for r in results) > 2.0, "too fast to show a false standstill"
    assert tally["games"] == 280
    seconds = sum(statuses[0].stage_seconds.values())
    assert seconds == pytest.approx(sum(r.seconds for r in results), rel=0.2)


@pytest.mark.slow
def test_a_window_keeps_its_lanes_between_calls(network: BlobNet) -> None:
    with SelfPlayEngine(
        network, num_workers=2, lanes=6, simulations_per_determinization=6
    ) as engine:
        one = engine.play_until(lambda p: p.lanes_settled)
        two = engine.play_until(lambda p: p.games >= 10)
        tally = engine.tally
    assert one.tally["settled"] == 12
    assert two.tally["settled"] == 0
    assert tally["games"] == one.games + two.games
    assert tally["grants_used"] - tally["games"] <= 12


def test_the_handshake_names_the_network_s_device(network: BlobNet) -> None:
    with SelfPlayEngine(network, num_workers=2, device="meta") as engine:
        assert [h.parameter_devices for h in engine.pool.handshakes] == [("meta",), ("meta",)]
        assert [h.output_device for h in engine.pool.handshakes] == ["meta", "meta"]
        assert len({h.pid for h in engine.pool.handshakes} | {os.getpid()}) == 3
    with SelfPlayEngine(network, num_workers=1) as engine:
        handshake = engine.pool.handshakes[0]
        assert (
            handshake.weights_hash == weights_hash(weights_of(network)) == engine.pool.weights_hash
        )
        assert (handshake.intra_op_threads, handshake.dtype) == (1, "float32")


def test_a_network_that_is_not_on_its_device_is_refused(network: BlobNet) -> None:
    engine = SelfPlayEngine(network, num_workers=2, device="meta", injection=Injection(DEVICE))
    with pytest.raises(DeviceMismatch, match=r"asked meta, parameters on cpu") as caught:
        engine.start()
    assert len(caught.value.handshakes) == 2
    for handshake in caught.value.handshakes:
        assert not psutil.pid_exists(handshake.pid)


@pytest.mark.slow
def test_new_weights_reach_every_worker(network: BlobNet) -> None:
    newer = build_network(SMALL, "cpu", seed=8)
    with SelfPlayEngine(
        network, num_workers=2, lanes=4, simulations_per_determinization=4, seed=3
    ) as engine:
        old = engine.generate_games(6)
        assert engine.update_weights(newer) == weights_hash(weights_of(newer))
        assert {h.weights_hash for h in engine.pool.handshakes} == {weights_hash(weights_of(newer))}
        assert engine.generate_games(6).games == old.games == 6


def test_a_killed_worker_s_games_are_played_again(network: BlobNet) -> None:
    with SelfPlayEngine(
        network, num_workers=2, lanes=8, simulations_per_determinization=20, seed=2
    ) as engine:
        victim = engine.pool.handshakes[0].pid

        def kill_once(progress: Progress) -> None:
            if progress.games >= 5 and psutil.pid_exists(victim):
                os.kill(victim, signal.SIGKILL)

        result = engine.generate_games(80, progress_callback=kill_once)
        states = [(s.handshake.pid, s.state) for s in engine.pool.statuses]
        engine.update_weights(network)
        assert len(engine.pool.handshakes) == 2
        assert victim not in {h.pid for h in engine.pool.handshakes}
    assert result.games == 80
    assert set(result.examples.game) == set(range(80))
    assert [event.kind for event in result.events] == ["worker-lost"]
    assert f"pid {victim}" in result.events[0].text
    assert (victim, "lost") in states


@pytest.mark.slow
def test_a_lone_worker_that_is_killed_is_replaced(network: BlobNet) -> None:
    with SelfPlayEngine(
        network, num_workers=1, lanes=8, simulations_per_determinization=20
    ) as engine:
        victim = engine.pool.handshakes[0].pid

        def kill_once(progress: Progress) -> None:
            if progress.games >= 3 and psutil.pid_exists(victim):
                os.kill(victim, signal.SIGKILL)

        result = engine.generate_games(30, progress_callback=kill_once)
    assert set(result.examples.game) == set(range(30))


@pytest.mark.slow
def test_a_worker_that_dies_at_every_start_ends_the_run(network: BlobNet) -> None:
    with SelfPlayEngine(
        network, num_workers=1, lanes=8, simulations_per_determinization=30
    ) as engine:
        dead: set[int] = set()

        def kill_each(progress: Progress) -> None:
            for handshake in engine.pool.handshakes:
                if handshake.pid not in dead:
                    dead.add(handshake.pid)
                    os.kill(handshake.pid, signal.SIGKILL)

        with pytest.raises(WorkerFailed, match="second failure"):
            engine.generate_games(1000, progress_callback=kill_each)


@pytest.mark.slow
def test_a_stuck_worker_is_ended_with_its_stacks(network: BlobNet) -> None:
    with SelfPlayEngine(
        network, num_workers=2, lanes=8, simulations_per_determinization=20, stall_seconds=1.5
    ) as engine:
        victim = engine.pool.handshakes[1].pid
        stopped: list[int] = []

        def stop_once(progress: Progress) -> None:
            if progress.games >= 5 and not stopped:
                stopped.append(victim)
                os.kill(victim, signal.SIGSTOP)

        result = engine.generate_games(60, progress_callback=stop_once)
        stalled = [s for s in engine.pool.statuses if s.state == "stalled"]
    assert set(result.examples.game) == set(range(60))
    assert [s.handshake.pid for s in stalled] == [victim]
    assert "search_thread.py" in (stalled[0].stacks or "")
    assert not psutil.pid_exists(victim)


@pytest.mark.slow
def test_games_that_stall_twice_end_the_run(network: BlobNet) -> None:
    with SelfPlayEngine(
        network, num_workers=1, lanes=4, simulations_per_determinization=20, stall_seconds=1.0
    ) as engine:

        def stop_all(progress: Progress) -> None:
            for handshake in engine.pool.handshakes:
                os.kill(handshake.pid, signal.SIGSTOP)

        with pytest.raises(WorkerFailed, match="second time"):
            engine.generate_games(50, progress_callback=stop_all)


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """A script without a main guard: workers do not run it again."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        textwrap.dedent("""
        from engine.network.blobnet import NetworkConfig, build_network
        from engine.selfplay.engine import SelfPlayEngine

        network = build_network(NetworkConfig(32, 2, 4, 64), "cpu")
        engine = SelfPlayEngine(network, num_workers=2, lanes=8)
        print(*(h.pid for h in engine.start()), flush=True)
        engine.generate_games(1_000_000)
    """)
    )
    parent = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    workers = [psutil.Process(pid) for pid in pids]
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    assert parent.stdout.read() == ""
    parent.stdout.close()
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert len(gone) == 2


def test_a_worker_that_dies_at_its_imports_is_an_error_at_once(
    network: BlobNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights do not fit into a pipe: waiting for them to be read would never end."""
    assert sum(array.nbytes for array in weights_of(network).values()) > 2**16
    (tmp_path / "torch.py").write_text("raise ImportError('scripted')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WorkerFailed, match="worker 0 died before its handshake: exit code 1"):
        SelfPlayEngine(network, num_workers=1).start()


@pytest.mark.slow
def test_an_error_in_the_callback_leaves_no_worker_behind(network: BlobNet) -> None:
    pids: list[int] = []

    def fail(progress: Progress) -> None:
        raise KeyboardInterrupt

    with SelfPlayEngine(network, num_workers=2, lanes=4) as engine:
        pids += [h.pid for h in engine.pool.handshakes]
        with pytest.raises(KeyboardInterrupt):
            engine.generate_games(100, progress_callback=fail)
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_bad_arguments_are_named_in_one_line(network: BlobNet) -> None:
    for device in ("gpu", "cuda:", "cuda:x", "", "cpu:0"):
        with pytest.raises(DeviceError, match="device must be"):
            SelfPlayEngine(network, device=device)
    for name in ("num_workers", "lanes", "threads", "num_determinizations"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            SelfPlayEngine(network, **{name: 0})
    with pytest.raises(ValueError, match="dtype"):
        SelfPlayEngine(network, dtype="float16")
    with pytest.raises(ValueError, match="would not call OwnEncoder"):
        SelfPlayEngine(network, OwnEncoder())
    with pytest.raises(ValueError, match="temperature_schedule"):
        SelfPlayEngine(network, temperature_schedule=1.0)  # type: ignore[arg-type]
    engine = SelfPlayEngine(network)
    with pytest.raises(ValueError, match="num_games"):
        engine.generate_games(0)
    with pytest.raises(ValueError, match="players"):
        engine.generate_games(1, num_players=9)
    with pytest.raises(ValueError, match="cards"):
        engine.generate_games(1, cards_to_deal=14)
    assert not engine.pool.workers


def test_an_absent_gpu_is_not_a_malformed_one(network: BlobNet) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    for device in ("cuda", "cuda:7"):
        with pytest.raises(DeviceUnavailable, match="not available"):
            SelfPlayEngine(network, device=device)
