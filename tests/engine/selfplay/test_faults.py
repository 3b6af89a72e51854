"""Every fault on a real run: the telemetry shows it where it is injected, and not where it is not.

What a run without a fault says stands in `healthy`; each test compares its own with that.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest

from engine.network.blobnet import BlobNet, NetworkConfig, build_network, weights_hash, weights_of
from engine.selfplay import faults
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.faults import Injection
from engine.selfplay.results import SelfPlayResult
from engine.selfplay.telemetry import WorkerStatus
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import Callbacks, TrainingPipeline
from engine.training.replay import ReplayBuffer
from engine.training.schedules import Ramp
from engine.training.trainer import NetworkTrainer

SMALL = NetworkConfig(32, 2, 4, 64)
GAMES = 80


class Run(NamedTuple):
    result: SelfPlayResult
    workers: list[WorkerStatus]
    engine: SelfPlayEngine

    @property
    def mean_batch(self) -> float:
        return float(self.result.tally["evaluations"] / self.result.tally["batches"])

    @property
    def distinct_share(self) -> float:
        return float(self.result.tally["distinct"] / self.result.tally["evaluations"])


@pytest.fixture(scope="module")
def network() -> BlobNet:
    return build_network(SMALL, "cpu", seed=1)


def run(network: BlobNet, injection: Injection = faults.HEALTHY) -> Run:
    with SelfPlayEngine(
        network,
        num_workers=2,
        lanes=16,
        simulations_per_determinization=12,
        injection=injection,
    ) as engine:
        result = engine.generate_games(GAMES)
        assert set(result.examples.game) == set(range(GAMES)), "no game is lost by any fault"
        return Run(result, engine.pool.statuses, engine)


@pytest.fixture(scope="module")
def healthy(network: BlobNet) -> Run:
    return run(network)


def test_a_healthy_run_shows_none_of_them(healthy: Run) -> None:
    assert healthy.mean_batch > 16
    assert healthy.distinct_share == 1.0
    for worker in healthy.workers:
        assert worker.handshake.intra_op_threads == 1
        assert worker.handshake.weights_hash == healthy.engine.pool.weights_hash
        assert worker.handshake.weights_version == 0
        assert worker.modes is not None
        assert (worker.modes.grad_enabled, worker.modes.train_mode) == (False, False)
        # How the games are shared out is the workers' speed.
        played = int(worker.tally["games"])
        assert len(worker.deals) == len(set(worker.deals)) == min(32, played)
    assert max(len(worker.deals) for worker in healthy.workers) == 32
    one, two = healthy.workers
    assert not set(one.deals) & set(two.deals)


def test_the_histogram_counts_every_batch_in_its_bin(healthy: Run) -> None:
    for worker in healthy.workers:
        assert sum(worker.batches.values()) == worker.tally["batches"]
        evaluations = int(worker.tally["evaluations"])
        assert sum(rows // 2 * n for rows, n in worker.batches.items()) < evaluations
        assert sum(rows * n for rows, n in worker.batches.items()) >= evaluations
        assert all(rows & (rows - 1) == 0 for rows in worker.batches)


@pytest.mark.slow
def test_tiny_batches(network: BlobNet) -> None:
    tiny = run(network, Injection(faults.TINY_BATCHES, 4))
    assert tiny.mean_batch <= 4
    for worker in tiny.workers:
        assert max(worker.batches) <= 4


@pytest.mark.slow
def test_oversubscription(network: BlobNet) -> None:
    crowded = run(network, Injection(faults.OVERSUBSCRIPTION, 3))
    assert [w.handshake.intra_op_threads for w in crowded.workers] == [3, 3]


def test_collapsed_search(network: BlobNet, healthy: Run) -> None:
    """The same node again and again, and every time the network computes it."""
    collapsed = run(network, Injection(faults.COLLAPSED_SEARCH))
    tally = collapsed.result.tally
    assert collapsed.distinct_share < 0.3
    assert tally["computed"] >= tally["evaluations"] > 3 * tally["distinct"]
    each = tally["simulations"] / tally["decisions"]
    expected = healthy.result.tally["simulations"] / healthy.result.tally["decisions"]
    assert each == pytest.approx(expected), "as many simulations as were asked for, and no more"


@pytest.mark.slow
def test_same_seed(network: BlobNet) -> None:
    one, two = run(network, Injection(faults.SAME_SEED)).workers
    assert len(set(one.deals) & set(two.deals)) >= 28
    assert len(set(one.deals)) == 32, "a worker's own deals are all different"


@pytest.mark.slow
def test_stale_weights(network: BlobNet) -> None:
    newer = build_network(SMALL, "cpu", seed=8)
    hashes: dict[str | None, list[str]] = {}
    for name in (None, faults.STALE_WEIGHTS):
        with SelfPlayEngine(
            network,
            num_workers=2,
            lanes=4,
            simulations_per_determinization=6,
            injection=Injection(name),
        ) as engine:
            assert engine.update_weights(newer) == weights_hash(weights_of(newer))
            engine.generate_games(4)
            hashes[name] = [h.weights_hash for h in engine.pool.handshakes]
            versions = [h.weights_version for h in engine.pool.handshakes]
            assert versions == ([1, 1] if name is None else [0, 1])
            assert engine.pool.weights_version == 1
    newest = weights_hash(weights_of(newer))
    assert hashes[None] == [newest, newest]
    stale, fresh = hashes[faults.STALE_WEIGHTS]
    assert fresh == newest
    assert stale not in (newest, weights_hash(weights_of(network))), "older than the first"


@pytest.mark.slow
def test_train_mode(network: BlobNet, healthy: Run) -> None:
    training = run(network, Injection(faults.TRAIN_MODE))
    for worker in training.workers:
        assert worker.modes is not None
        assert (worker.modes.grad_enabled, worker.modes.train_mode) == (True, True)

    def seconds_an_evaluation(of: Run) -> float:
        spent = sum(worker.stage_seconds["network"] for worker in of.workers)
        return spent / float(of.result.tally["evaluations"])

    assert seconds_an_evaluation(training) > 1.2 * seconds_an_evaluation(healthy)


@pytest.mark.parametrize("dose", [0.0, 1.2])
def test_phase_gap_in_an_iteration(network: BlobNet, dose: float) -> None:
    injection = Injection(faults.PHASE_GAP, dose) if dose else faults.HEALTHY
    marks: list[tuple[str, float]] = []
    with SelfPlayEngine(
        network, num_workers=1, lanes=8, simulations_per_determinization=6, injection=injection
    ) as engine:
        settings = TrainingSettings(games=Ramp.level(10), reuse=0.5)
        pipeline = TrainingPipeline(engine, NetworkTrainer(network), ReplayBuffer(10_000), settings)

        class Phase:
            def __init__(self, name: str) -> None:
                self.name = name

            def __enter__(self) -> None:
                marks.append((f"{self.name} begins", time.monotonic()))

            def __exit__(self, *_: object) -> None:
                marks.append((f"{self.name} ends", time.monotonic()))

        list(pipeline.run(Callbacks(phase=Phase)))
    at = dict(marks)
    gap = at["training begins"] - at["replay buffer ends"]
    assert dose <= gap < dose + 0.3


@pytest.mark.slow
def test_a_gap_in_a_window_stands_all_workers_still(network: BlobNet) -> None:
    with SelfPlayEngine(
        network, num_workers=2, lanes=8, injection=Injection(faults.PHASE_GAP, 1.0)
    ) as engine:
        seen: list[tuple[float, int]] = []
        due = True

        def enough(progress: object) -> bool:
            nonlocal due
            if due and engine.tally["games"] > 20:
                before, due = int(engine.tally["batches"]), False
                start = time.monotonic()
                engine.stand_still()
                seen.append((time.monotonic() - start, int(engine.tally["batches"]) - before))
            return engine.tally["games"] > 60

        assert engine.play_until(enough).games > 60
    [(seconds, batches)] = seen
    assert seconds >= 1.0
    # What was on its way when the pause was asked for, at most a report's worth.
    assert batches < 0.35 * engine.tally["batches"]


def test_an_unknown_fault_is_refused(network: BlobNet) -> None:
    with pytest.raises(ValueError, match="injection 'gremlins' is none of: device-not-propagated"):
        SelfPlayEngine(network, injection=Injection("gremlins"))
