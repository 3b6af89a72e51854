"""One iteration: phases in order, examples stored and trained on, new weights everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lane_play import SMALL

from engine.network import build_network, weights_hash, weights_of
from engine.pipeline import BUFFER, SELF_PLAY, TRAINING, WEIGHTS, TrainingPipeline
from engine.replay import ReplayBuffer
from engine.selfplay import SelfPlayEngine
from engine.training import NetworkTrainer


def test_an_iteration_plays_trains_and_refreshes() -> None:
    network = build_network(SMALL, "cpu")
    before = weights_hash(weights_of(network))
    phases: list[str] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        phases.append(name)
        yield

    with SelfPlayEngine(
        network, num_workers=2, lanes=8, simulations_per_determinization=8
    ) as engine:
        buffer, trainer = ReplayBuffer(10_000), NetworkTrainer(network, batch_size=64)
        pipeline = TrainingPipeline(engine, trainer, buffer, reuse=2)
        results = [pipeline.run_iteration(20, phase=phase) for _ in range(2)]
        hashes = {h.weights_hash for h in engine.pool.handshakes}
    assert phases == [SELF_PLAY, BUFFER, TRAINING, WEIGHTS] * 2
    assert [r.self_play.games for r in results] == [20, 20]
    assert len(buffer) == sum(r.self_play.examples.rows for r in results)
    trained, new = results[0].training.examples, results[0].self_play.examples.rows
    assert trained == pytest.approx(2 * new, abs=64)
    assert len({before, *(r.weights_hash for r in results)}) == 3
    assert hashes == {results[-1].weights_hash} == {weights_hash(weights_of(network))}


def test_reuse_must_be_positive() -> None:
    network = build_network(SMALL, "cpu")
    with pytest.raises(ValueError, match="reuse"):
        TrainingPipeline(
            SelfPlayEngine(network), NetworkTrainer(network), ReplayBuffer(10), reuse=0
        )
