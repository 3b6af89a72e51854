"""Matches after the iterations of a training run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from training_runs import CHANGING, hash_of, pipeline

from engine.network.blobnet import weights_hash, weights_of
from engine.selfplay.engine import SelfPlayEngine
from engine.training.checkpoint import CheckpointError
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import (
    CHECKPOINT,
    EVALUATION,
    SELF_PLAY,
    WEIGHTS,
    Callbacks,
)
from engine.training.run_folder import RunFolder
from engine.training.schedules import Ramp


@pytest.mark.slow
def test_matches_follow_where_they_are_asked_for(engine: SelfPlayEngine, tmp_path: Path) -> None:
    """After every second iteration and the last: the same deals, and the first network's too."""
    settings = TrainingSettings(
        iterations=3, games=Ramp.level(20), reuse=2, evaluate_every=2, deals=6, save_seconds=0
    )
    phases: list[str] = []
    seen: list[tuple[str, int, int]] = []

    @contextmanager
    def marked(name: str) -> Iterator[None]:
        phases.append(name)
        yield

    callbacks = Callbacks(phase=marked, match=lambda *match: seen.append(match))
    with RunFolder(tmp_path) as folder:
        run = pipeline(engine, settings, folder)
        first = hash_of(run)
        records = [result.record for result in run.run(callbacks)]
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
    assert [opponent for opponent, games, ended in seen if games == ended == 24] == [
        *("random", "rules", "first", "raw"),
        *("random", "rules", "first", "raw"),
    ]
    # What the folder holds is what came out.
    kept = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [record["matches"] for record in kept] == [record.matches for record in records]


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
            list(run.run(Callbacks(match=die)))
    assert not run.evaluating
    [cut] = run.records
    assert (cut.iteration, list(cut.matches)) == (1, ["random"]), (
        "matches that had ended are recorded"
    )
    assert cut.evaluation_seconds > 0
    with RunFolder(tmp_path) as folder:
        again = pipeline(engine, settings, folder, seed=9)
        again.resume()
        [result] = again.run(Callbacks(phase=marked))
    assert hash_of(again) == hash_of(run)
    assert (result.training.steps, result.record.steps) == (0, run.state.step)
    assert len(result.record.matches) == 4
    assert again.records == [result.record]
    assert SELF_PLAY not in phases


def test_matches_that_do_not_fit_into_memory_are_an_event_and_end_nothing(
    engine: SelfPlayEngine,
) -> None:
    settings = TrainingSettings(games=Ramp.level(20), reuse=2, evaluate_every=1, deals=2)
    events: list[str] = []

    def full(opponent: str, games: int, ended: int) -> None:
        if opponent == "rules":
            raise torch.OutOfMemoryError

    callbacks = Callbacks(match=full, event=lambda kind, text: events.append(kind))
    [result] = pipeline(engine, settings).run(callbacks)
    assert (list(result.record.matches), events) == (["random"], ["out-of-memory"])


def test_a_missing_first_network_is_an_error_before_anything_is_played(
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
