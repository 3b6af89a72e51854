"""A run that is killed and resumed ends as one that was not; what cannot be resumed."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_runs import CHANGING, Died, hash_of, pipeline

from engine.network.blobnet import NetworkConfig, weights_hash
from engine.selfplay.engine import SelfPlayEngine
from engine.training import checkpoint, run_folder
from engine.training.checkpoint import CheckpointError, read_arrays, write_whole
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import (
    Callbacks,
)
from engine.training.run_folder import KEPT_NEWEST, RunFolder
from engine.training.schedules import FLOOR, Ramp


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
                assert list(again.run(Callbacks(progress=dies, step=dies))) or attempt
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
def test_what_cannot_be_resumed_is_one_line_and_stays_as_it_is(
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
        assert (run.iteration, run.state.step > 0) == (1, True)
        assert len(list(run.run())) == 1
    assert hash_of(run) == weights_hash(wanted)


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
