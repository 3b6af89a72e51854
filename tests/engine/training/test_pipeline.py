"""Training runs: phases in order, chunks of the right size, games counted by age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from lane_play import SMALL
from training_runs import hash_of, pipeline

from engine.network.blobnet import build_network, weights_hash, weights_of
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.faults import STALE_WEIGHTS, Injection
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import (
    BUFFER,
    CHECKPOINT,
    SAVING,
    SELF_PLAY,
    TRAINING,
    WEIGHTS,
    Callbacks,
    TrainingPipeline,
)
from engine.training.replay import ReplayBuffer
from engine.training.run_folder import RunFolder
from engine.training.schedules import Ramp
from engine.training.trainer import NetworkTrainer


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
        settings = TrainingSettings(iterations=2, games=Ramp.level(20), reuse=2)
        results = list(TrainingPipeline(engine, trainer, buffer, settings).run(Callbacks(phase)))
        hashes = {h.weights_hash for h in engine.pool.handshakes}
    assert phases == [SELF_PLAY, BUFFER, TRAINING, WEIGHTS] * 2
    assert [[chunk.games for chunk in r.played] for r in results] == [[20], [20]]
    assert len(buffer) == sum(r.record.examples for r in results)
    trained, new = results[0].training.examples, results[0].record.examples
    assert trained == pytest.approx(2 * new, abs=64)
    assert results[0].record.mean_uses == pytest.approx(trained / new)
    assert [r.record.mean_age for r in results] == [0, pytest.approx(new / len(buffer))]
    assert len({before, *(r.record.weights_hash for r in results)}) == 3
    assert hashes == {results[-1].record.weights_hash} == {weights_hash(weights_of(network))}


@pytest.mark.slow
def test_without_root_noise_games_are_those_of_a_search_without_it(engine: SelfPlayEngine) -> None:
    own = engine.search
    quiet, loud = TrainingSettings(games=Ramp.level(8), root_noise=0), TrainingSettings()
    played = pipeline(engine, quiet)
    next(played.run())
    assert engine.search == own._replace(noise_share=0.0)
    engine.update_weights(build_network(SMALL, "cpu", 1))
    same = engine.generate_games(8, first_game=0).examples
    engine.search = own._replace(noise_share=loud.root_noise)
    other = engine.generate_games(8, first_game=0).examples
    np.testing.assert_array_equal(played.buffer.examples.policy[: same.rows], same.policy)
    assert not np.array_equal(same.policy, other.policy)
    with pytest.raises(ValueError, match=r"root_noise must be from 0 to 1, not -0\.1"):
        TrainingSettings(root_noise=-0.1).check()


def test_games_repeat_exactly_whenever_the_parent_gets_to_run(engine: SelfPlayEngine) -> None:
    slowly = iter([0.4, 0.0, 0.3] * 100)

    def dawdle(_: object) -> None:
        time.sleep(next(slowly))

    plain = engine.generate_games(60, first_game=100)
    other = engine.generate_games(25)
    again = engine.generate_games(60, progress_callback=dawdle, first_game=100)
    assert set(other.examples.game) == set(range(160, 185))
    for mine, theirs in zip(again.examples, plain.examples, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # The last bit depends on the shape of a batch, in networks larger than this one.
    for name in ("batches", "computed", "evaluations"):
        assert again.tally[name] == plain.tally[name]


def test_the_size_of_a_chunk_comes_from_the_last_one_and_a_small_rest_joins_it(
    engine: SelfPlayEngine, tmp_path: Path
) -> None:
    settings = TrainingSettings(chunk_seconds=3.0)
    measured = pipeline(engine, settings, RunFolder(tmp_path))
    assert measured._chunk_games(1000) == 8  # a game a lane: no speed is known
    measured.state.games_per_second = 50.0
    assert [measured._chunk_games(n) for n in (1000, 150, 149, 3)] == [100, 100, 149, 3]
    fixed = pipeline(engine, TrainingSettings(chunk_games=40))
    assert [fixed._chunk_games(n) for n in (1000, 60, 59)] == [40, 40, 59]
    unkept = pipeline(engine, settings)
    assert unkept._chunk_games(1000) == 1000


def test_nothing_is_trained_before_the_buffer_holds_enough(engine: SelfPlayEngine) -> None:
    settings = TrainingSettings(3, Ramp.level(12), Ramp.level(1), Ramp.level(2), least_examples=300)
    run = pipeline(engine, settings)
    before = hash_of(run)
    results = list(run.run())
    assert [r.training.steps > 0 for r in results] == [False, True, True]
    assert results[0].record.policy_loss is None
    assert results[0].record.weights_hash == before != results[1].record.weights_hash


def test_phases_of_a_run_in_a_folder(engine: SelfPlayEngine, tmp_path: Path) -> None:
    phases: list[str] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        phases.append(name)
        yield

    settings = TrainingSettings(1, Ramp.level(20), chunk_games=10)
    with RunFolder(tmp_path) as folder:
        list(pipeline(engine, settings, folder).run(Callbacks(phase)))
    played = [SELF_PLAY, SAVING, BUFFER]
    assert phases == [*played, *played, TRAINING, CHECKPOINT, WEIGHTS]


@pytest.mark.slow
def test_games_played_with_old_weights_are_counted_by_their_age() -> None:
    network = build_network(SMALL, "cpu")
    with SelfPlayEngine(
        network,
        num_workers=2,
        lanes=8,
        simulations_per_determinization=4,
        injection=Injection(STALE_WEIGHTS),
    ) as engine:
        settings = TrainingSettings(3, Ramp.level(40))
        run = TrainingPipeline(engine, NetworkTrainer(network), ReplayBuffer(4000), settings)
        ages = [result.record.weights_ages for result in run.run()]
    assert ages[0] == {"0": 40}
    for iteration in (1, 2):
        assert ages[iteration].keys() == {"0", str(iteration)}
        assert sum(ages[iteration].values()) == 40


def test_illegal_settings_are_named(engine: SelfPlayEngine) -> None:
    for name, value in {
        "reuse": 0,
        "iterations": 0,
        "games": Ramp(5, 0),
        "simulations": Ramp(0, 5),
        "least_examples": 0,
        "chunk_games": 0,
    }.items():
        with pytest.raises(ValueError, match=name):
            pipeline(engine, TrainingSettings()._replace(**{name: value}))
