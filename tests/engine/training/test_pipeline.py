"""Training runs: phases in order, exact after every death, guarded, and sparing with the disk."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lane_play import SMALL, generated
from torch import Tensor

from engine.network.blobnet import BlobNet, NetworkConfig, build_network, weights_hash, weights_of
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.faults import STALE_WEIGHTS, Injection
from engine.training import checkpoint, run_folder
from engine.training.checkpoint import CheckpointError, read_arrays, write_whole
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import (
    BUFFER,
    CHECKPOINT,
    EVALUATION,
    SAVING,
    SELF_PLAY,
    TRAINING,
    WEIGHTS,
    TrainingPipeline,
    Watch,
)
from engine.training.replay import Examples, ReplayBuffer
from engine.training.run_folder import KEPT_NEWEST, RunFolder
from engine.training.schedules import FLOOR, Ramp
from engine.training.trainer import NetworkTrainer, NotFinite

CHANGING = TrainingSettings(
    iterations=3,
    games=Ramp(20, 40),
    determinizations=Ramp(1, 2),
    simulations=Ramp(4, 8),
    window=Ramp(200, 500),
    reuse=2,
    chunk_games=12,
    save_seconds=0,
)


@pytest.fixture(scope="module")
def engine() -> Iterator[SelfPlayEngine]:
    """One worker of one thread: its games repeat to the last bit."""
    network = build_network(SMALL, "cpu")
    with SelfPlayEngine(network, num_workers=1, lanes=8, seed=5) as engine:
        yield engine


def pipeline(
    engine: SelfPlayEngine,
    settings: TrainingSettings,
    folder: RunFolder | None = None,
    seed: int = 1,
    config: NetworkConfig = SMALL,
) -> TrainingPipeline:
    """A run from its beginning; `seed` is that of the weights."""
    trainer = NetworkTrainer(build_network(config, "cpu", seed), batch_size=64, cores=1)
    if config == SMALL:
        engine.update_weights(trainer.network)
    return TrainingPipeline(engine, trainer, ReplayBuffer(600, seed=3), settings, folder)


def hash_of(run: TrainingPipeline) -> str:
    return weights_hash(weights_of(run.trainer.network))


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
        results = list(TrainingPipeline(engine, trainer, buffer, settings).run(Watch(phase)))
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


class Died(Exception):
    """Stands for a death that comes between two instructions of ours."""


def test_a_run_that_dies_again_and_again_comes_to_the_same_weights_and_examples(
    engine: SelfPlayEngine, tmp_path: Path
) -> None:
    whole = pipeline(engine, CHANGING)
    records = [result.record for result in whole.run()]
    assert [r.games for r in records] == [20, 30, 40]
    assert [(r.determinizations, r.simulations) for r in records] == [(1, 4), (2, 6), (2, 8)]
    assert [r.chunks for r in records] == [2, 3, 3]
    assert [r.buffer_examples for r in records] == [200, 350, 500]
    assert records[-1].learning_rate == pytest.approx(1e-3 * FLOOR, rel=0.2)

    calls, deaths, own = 0, 0, engine.search._replace(determinizations=3, simulations=30)

    def dies(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            raise Died

    for attempt in range(99):
        engine.search = own  # as in a new process
        with RunFolder(tmp_path) as folder:
            # Later attempts begin with other weights: all must come from the folder.
            again = pipeline(engine, CHANGING, folder, seed=1 if attempt == 0 else 9)
            again.resume()
            try:
                assert list(again.run(Watch(progress=dies, step=dies))) or attempt
                break
            except Died:
                deaths += 1
            # In the midst of a training, too.
            assert len(list(folder.checkpoints.iterdir())) <= KEPT_NEWEST + 1
    assert deaths > 6
    assert hash_of(again) == hash_of(whole)
    for mine, theirs in zip(again.buffer.examples, whole.buffer.examples, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(again.buffer.uses, whole.buffer.uses)
    timeless = {"self_play_seconds": 0.0, "training_seconds": 0.0, "core_seconds": None}
    assert [r._replace(**timeless) for r in again.records] == [
        r._replace(**timeless) for r in records
    ]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["weights_hash"] for line in lines] == [r.weights_hash for r in records]
    # A finished run has nothing left to do; made longer, it goes on.
    with RunFolder(tmp_path) as folder:
        with pytest.raises(CheckpointError, match="resume it first"):
            next(pipeline(engine, CHANGING, folder).run())
        longer = pipeline(engine, CHANGING._replace(iterations=4), folder, seed=9)
        longer.resume()
        assert [result.record.iteration for result in longer.run()] == [4]


def test_games_repeat_exactly_whenever_the_parent_comes_to_it(engine: SelfPlayEngine) -> None:
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
    measured._games_per_second = 50.0
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


def test_phases_of_a_run_that_is_kept(engine: SelfPlayEngine, tmp_path: Path) -> None:
    phases: list[str] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        phases.append(name)
        yield

    settings = TrainingSettings(1, Ramp.level(20), chunk_games=10)
    with RunFolder(tmp_path) as folder:
        list(pipeline(engine, settings, folder).run(Watch(phase)))
    played = [SELF_PLAY, SAVING, BUFFER]
    assert phases == [*played, *played, TRAINING, CHECKPOINT, WEIGHTS]


# -- guards ---------------------------------------------------------------------------------------


class Fails(BlobNet):
    """A network that does what it is told to in its n-th call in training."""

    calls = 0
    act: Callable[[int, Tensor], None] = staticmethod(lambda call, states: None)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            self.calls += 1
            self.act(self.calls, states)
        return super().forward(states)


def failing(act: Callable[[int, Tensor], None], cores: int = 1) -> NetworkTrainer:
    torch.manual_seed(2)
    network = Fails(256, *SMALL)
    network.act = act
    return NetworkTrainer(network, batch_size=32, cores=cores)


@pytest.fixture(scope="module")
def examples() -> Examples:
    return generated(40)


def filled(examples: Examples) -> ReplayBuffer:
    buffer = ReplayBuffer(10_000, seed=1)
    buffer.add(examples)
    return buffer


@pytest.mark.parametrize("cores", [1, 2])
def test_a_batch_too_large_for_the_memory_is_computed_in_halves(
    examples: Examples, cores: int
) -> None:
    def too_large(call: int, states: Tensor) -> None:
        if call > 4 and len(states) > 16 // cores:
            raise torch.OutOfMemoryError("CUDA out of memory")

    halved, whole = failing(too_large, cores), failing(lambda call, states: None, cores)
    losses = [trainer.train(filled(examples), 8).losses for trainer in (halved, whole)]
    assert halved.halved
    assert not whole.halved
    # The same steps on the same batches: only the order of sums differs.
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_halves_that_are_too_large_as_well_end_the_training(examples: Examples) -> None:
    def too_large(call: int, states: Tensor) -> None:
        if len(states) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        failing(too_large).train(filled(examples), 2)


def test_a_halved_batch_is_told_of(engine: SelfPlayEngine) -> None:
    def too_large(call: int, states: Tensor) -> None:
        if call == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    events: list[tuple[str, str]] = []
    trainer = failing(too_large)
    engine.update_weights(trainer.network)
    settings = TrainingSettings(1, Ramp.level(16), Ramp.level(1), Ramp.level(2))
    run = TrainingPipeline(engine, trainer, ReplayBuffer(600), settings)
    list(run.run(Watch(event=lambda *event: events.append(event))))
    [(kind, text)] = events
    assert kind == "out-of-memory"
    assert text.startswith("a batch of 32 did not fit into the memory at step 2 of iteration 1")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_with_its_batch_and_the_last_good_checkpoint(
    engine: SelfPlayEngine, tmp_path: Path, bad: float
) -> None:
    def spoil(call: int, states: Tensor) -> None:
        if call == 9:
            states[0, 0] = bad

    trainer = failing(spoil)
    engine.update_weights(trainer.network)
    settings = TrainingSettings(1, Ramp.level(16), Ramp.level(1), Ramp.level(2), save_seconds=0)
    with RunFolder(tmp_path) as folder:
        run = TrainingPipeline(engine, trainer, ReplayBuffer(600), settings, folder)
        with pytest.raises(FloatingPointError) as caught:
            list(run.run())
        assert str(caught.value) == (
            "the loss is not finite at step 8 of iteration 1; its batch is in "
            "bad-batch-000000-000008.safetensors, the last good checkpoint is kept"
        )
        batch = read_arrays(tmp_path / "bad-batch-000000-000008.safetensors").arrays
        assert batch.keys() == set(Examples._fields)
        assert batch["policy"].sum() == pytest.approx(32, rel=1e-4)
        assert folder.newest_checkpoint == folder.checkpoints / "000000-000008.safetensors"
        kept = read_arrays(folder.newest_checkpoint).arrays
        assert all(np.isfinite(array).all() for array in kept.values())
        assert hash_of(run) == weights_hash(
            {n.removeprefix("network/"): a for n, a in kept.items() if n.startswith("network/")}
        )


def test_gradients_that_are_not_finite_reach_no_weight(examples: Examples) -> None:
    trainer = failing(lambda call, states: None)
    weight = trainer.network.value_head[2].weight
    weight.register_hook(lambda gradient: gradient * float("inf"))
    before = weights_of(trainer.network)
    with pytest.raises(NotFinite, match=r"the gradients' norm is not finite at step 0"):
        trainer.train(filled(examples), 3)
    assert weights_hash(weights_of(trainer.network)) == weights_hash(before)


# -- what cannot be resumed -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(engine: SelfPlayEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two iterations in four chunks."""
    path = tmp_path_factory.mktemp("run")
    settings = CHANGING._replace(iterations=2, games=Ramp.level(20), chunk_games=10)
    with RunFolder(path) as folder:
        assert len(list(pipeline(engine, settings, folder).run())) == 2
    return path


def damage_network(path: Path) -> dict[str, Any]:
    return {"config": NetworkConfig(32, 3, 4, 64)}


def damage_checkpoint(path: Path) -> dict[str, Any]:
    newest = max((path / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1000])
    return {}


def damage_games(path: Path) -> dict[str, Any]:
    sorted((path / "games").iterdir())[-1].unlink()
    return {}


DAMAGES = {
    "another network": (damage_network, r"000002-000000.* do not fit a network 32-3-4-64$"),
    "a checkpoint cut off": (damage_checkpoint, r"000002-000000.*: it is damaged"),
    "games that are gone": (damage_games, r"examples \d+ to \d+ are not in games/$"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_gone_on_from_is_one_line_and_stays_as_it_is(
    engine: SelfPlayEngine, finished: Path, tmp_path: Path, damage: str
) -> None:
    path = shutil.copytree(finished, tmp_path / "run")
    act, words = DAMAGES[damage]
    changes = act(path)
    before = {p: p.read_bytes() for p in path.rglob("*.safetensors")}
    with RunFolder(path) as folder:
        run = pipeline(engine, CHANGING, folder, **changes)
        with pytest.raises(CheckpointError, match=words) as caught:
            run.resume()
    assert len(str(caught.value).splitlines()) == 1
    assert {p: p.read_bytes() for p in path.rglob("*.safetensors")} == before


def test_without_its_newest_checkpoint_a_run_goes_on_from_the_one_before(
    engine: SelfPlayEngine, finished: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(finished, tmp_path / "run")
    wanted = read_arrays(path / "networks" / "000002.safetensors").arrays
    max((path / "checkpoints").iterdir()).unlink()
    settings = CHANGING._replace(iterations=2, games=Ramp.level(20), chunk_games=10)
    with RunFolder(path) as folder:
        run = pipeline(engine, settings, folder, seed=9)
        run.resume()
        assert (run.iteration, run.step > 0) == (1, True)
        assert len(list(run.run())) == 1
    assert hash_of(run) == weights_hash(wanted)


# -- staleness ------------------------------------------------------------------------------------


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


def test_settings_that_cannot_be_are_named(engine: SelfPlayEngine) -> None:
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


@pytest.mark.slow
def test_matches_follow_where_they_are_asked_for(engine: SelfPlayEngine, tmp_path: Path) -> None:
    """After every second iteration and the last: the same deals, and the first network's too."""
    settings = TrainingSettings(
        iterations=3, games=Ramp.level(20), reuse=2, evaluate_every=2, deals=6, save_seconds=0
    )
    phases: list[str] = []
    told: list[tuple[str, int, int]] = []

    @contextmanager
    def marked(name: str) -> Iterator[None]:
        phases.append(name)
        yield

    watch = Watch(phase=marked, match=lambda *match: told.append(match))
    with RunFolder(tmp_path) as folder:
        run = pipeline(engine, settings, folder)
        first = hash_of(run)
        records = [result.record for result in run.run(watch)]
        assert weights_hash(weights_of(run._first_network())) == first
    assert [sorted(record.matches) for record in records] == [
        [],
        ["first", "random", "raw", "rules"],
        ["first", "random", "raw", "rules"],
    ]
    assert phases.count(EVALUATION) == 2
    assert phases[-3:] == [EVALUATION, CHECKPOINT, WEIGHTS]
    assert all(record.evaluation_seconds > 0 for record in records if record.matches)
    last = records[-1].matches["rules"]
    assert last["deals"] == 6
    assert 0 <= last["exact_bids"] <= 1
    assert [opponent for opponent, games, ended in told if games == ended == 24] == [
        *("random", "rules", "first", "raw"),
        *("random", "rules", "first", "raw"),
    ]
    # What the folder holds is what came out.
    kept = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [record["matches"] for record in kept] == [record.matches for record in records]


def test_a_death_after_any_file_costs_nothing(
    engine: SelfPlayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainingSettings(iterations=2, games=Ramp.level(20), reuse=2, chunk_games=12)
    whole = pipeline(engine, settings)
    list(whole.run())
    written = 0

    def dying_after(number: int) -> Callable[[Path, bytes], None]:
        def write(path: Path, content: bytes) -> None:
            nonlocal written
            write_whole(path, content)
            written += 1
            if written == number:
                raise Died

        return write

    for number in itertools.count(1):
        written = 0
        with RunFolder(tmp_path / str(number)) as folder, monkeypatch.context() as patch:
            for module in (checkpoint, run_folder):
                patch.setattr(module, "write_whole", dying_after(number))
            run = pipeline(engine, settings, folder)
            try:
                list(run.run())
                break  # no file is left to die after
            except Died:
                pass
        with RunFolder(tmp_path / str(number)) as folder:
            again = pipeline(engine, settings, folder)
            again.resume()
            list(again.run())
            assert len(folder.metrics.read_text().splitlines()) == 2
        assert hash_of(again) == hash_of(whole)
        np.testing.assert_array_equal(again.buffer.uses, whole.buffer.uses)
    assert hash_of(run) == hash_of(whole)
    assert number > 10


def test_a_death_in_the_matches_costs_no_training(engine: SelfPlayEngine, tmp_path: Path) -> None:
    settings = TrainingSettings(
        iterations=1, games=Ramp.level(20), reuse=2, evaluate_every=1, deals=6, save_seconds=1000
    )
    phases: list[str] = []

    def die(opponent: str, games: int, ended: int) -> None:
        if opponent == "rules":
            raise KeyboardInterrupt

    @contextmanager
    def marked(name: str) -> Iterator[None]:
        phases.append(name)
        yield

    with RunFolder(tmp_path) as folder:
        run = pipeline(engine, settings, folder)
        with pytest.raises(KeyboardInterrupt):
            list(run.run(Watch(match=die)))
    assert not run.evaluating
    [cut] = run.records
    assert (cut.iteration, list(cut.matches)) == (1, ["random"]), "what had ended is told of"
    assert cut.evaluation_seconds > 0
    with RunFolder(tmp_path) as folder:
        again = pipeline(engine, settings, folder, seed=9)
        again.resume()
        [result] = again.run(Watch(phase=marked))
    assert hash_of(again) == hash_of(run)
    assert (result.training.steps, result.record.steps) == (0, run.step)
    assert len(result.record.matches) == 4
    assert again.records == [result.record]
    assert SELF_PLAY not in phases


def test_matches_that_do_not_fit_into_memory_are_told_of_and_end_nothing(
    engine: SelfPlayEngine,
) -> None:
    settings = TrainingSettings(games=Ramp.level(20), reuse=2, evaluate_every=1, deals=2)
    events: list[str] = []

    def full(opponent: str, games: int, ended: int) -> None:
        if opponent == "rules":
            raise torch.OutOfMemoryError

    watch = Watch(match=full, event=lambda kind, text: events.append(kind))
    [result] = pipeline(engine, settings).run(watch)
    assert (list(result.record.matches), events) == (["random"], ["out-of-memory"])


def test_a_first_network_that_is_missing_is_told_of_before_anything_is_played(
    engine: SelfPlayEngine, tmp_path: Path
) -> None:
    settings = TrainingSettings(iterations=2, games=Ramp.level(20), evaluate_every=2, deals=2)
    with RunFolder(tmp_path) as folder:
        next(pipeline(engine, settings, folder).run())
        folder.network(0).unlink()
        with pytest.raises(CheckpointError, match="000000"):
            pipeline(engine, settings, folder).resume()


def test_strength_is_measured_by_the_search_of_the_last_iteration(engine: SelfPlayEngine) -> None:
    run = pipeline(engine, CHANGING._replace(players=3, cards=4))
    search = run.last_search()
    assert (search.determinizations, search.simulations) == (2, 8)
    assert (search.players, search.cards) == (3, 4)
