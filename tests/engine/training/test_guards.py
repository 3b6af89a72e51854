"""Batches too large for the memory, and losses that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lane_play import SMALL, generated
from torch import Tensor
from training_runs import hash_of

from engine.network.blobnet import BlobNet, weights_hash, weights_of
from engine.search.examples import Examples
from engine.selfplay.engine import SelfPlayEngine
from engine.training.checkpoint import read_arrays
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import (
    Callbacks,
    TrainingPipeline,
)
from engine.training.replay import ReplayBuffer
from engine.training.run_folder import RunFolder
from engine.training.schedules import Ramp
from engine.training.trainer import NetworkTrainer, NotFinite


class Fails(BlobNet):
    """A network that calls `act` in every call in training."""

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


def test_a_halved_batch_is_an_event(engine: SelfPlayEngine) -> None:
    def too_large(call: int, states: Tensor) -> None:
        if call == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    events: list[tuple[str, str]] = []
    trainer = failing(too_large)
    engine.update_weights(trainer.network)
    settings = TrainingSettings(1, Ramp.level(16), Ramp.level(1), Ramp.level(2))
    run = TrainingPipeline(engine, trainer, ReplayBuffer(600), settings)
    list(run.run(Callbacks(event=lambda *event: events.append(event))))
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
