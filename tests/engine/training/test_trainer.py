"""The trainer: right gradients, falling loss on generated games, errors in words."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from lane_play import SMALL, generated

from engine.network.blobnet import build_network
from engine.training.replay import ReplayBuffer
from engine.training.trainer import NetworkTrainer, policy_loss, value_loss


@pytest.fixture(scope="module")
def buffer() -> ReplayBuffer:
    buffer = ReplayBuffer(10_000, seed=1)
    buffer.add(generated(60))
    return buffer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_loss_falls_on_generated_games(buffer: ReplayBuffer, dtype: str) -> None:
    trainer = NetworkTrainer(build_network(SMALL, "cpu"), batch_size=128, dtype=dtype)
    result = trainer.train(buffer, 80)
    first = np.mean([loss.total for loss in result.losses[:8]])
    last = np.mean([loss.total for loss in result.losses[-8:]])
    assert last < first - 0.1
    assert result.examples == 80 * 128
    assert result.examples_per_second > 0
    assert not trainer.network.training


def test_shards_add_up_to_the_plain_gradient(buffer: ReplayBuffer) -> None:
    examples = buffer.sample(65)
    network = build_network(SMALL, "cpu")
    trainer = NetworkTrainer(network, learning_rate=1e-12, clip_norm=1e9, batch_size=65)
    trainer.shards = 3
    network.train()
    trainer.step(examples)
    states, legal, policy, outcome, seats = (torch.from_numpy(c) for c in examples[:5])
    logits, values = network(states)
    loss = policy_loss(logits, legal, policy) + value_loss(values, outcome, seats)
    expected = torch.autograd.grad(loss, list(network.parameters()))
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_illegal_actions_and_empty_seats_count_for_nothing() -> None:
    legal = torch.tensor([[True, True, False]])
    policy = torch.tensor([[0.5, 0.5, 0.0]])
    one = policy_loss(torch.tensor([[0.0, 0.0, 50.0]]), legal, policy)
    assert one.item() == pytest.approx(np.log(2))
    outcome, seats = torch.tensor([[0.5, 0.0]]), torch.tensor([[True, False]])
    assert value_loss(torch.tensor([[0.0, 99.0]]), outcome, seats).item() == pytest.approx(
        np.log(2)
    )


def test_a_loss_that_is_not_finite_stops_the_training(buffer: ReplayBuffer) -> None:
    network = build_network(SMALL, "cpu")
    with torch.no_grad():
        network.embedding.weight[0, 0] = float("nan")
    before = network.layers[0].linear1.weight.clone()
    with pytest.raises(FloatingPointError, match="not finite"):
        NetworkTrainer(network, batch_size=8).train(buffer, 3)
    assert torch.equal(network.layers[0].linear1.weight, before)


def test_its_threads_end_with_it(buffer: ReplayBuffer) -> None:
    before = set(threading.enumerate())
    with NetworkTrainer(build_network(SMALL, "cpu"), batch_size=64, cores=2) as trainer:
        trainer.train(buffer, 2)
        threads = set(threading.enumerate()) - before
        assert {thread.name for thread in threads} == {"trainer_0", "trainer_1"}
    assert not any(thread.is_alive() for thread in threads)
    trainer.close()


def test_bad_arguments_are_named() -> None:
    network = build_network(SMALL, "cpu")
    with pytest.raises(ValueError, match="learning_rate"):
        NetworkTrainer(network, learning_rate=0)
    with pytest.raises(ValueError, match="batch_size"):
        NetworkTrainer(network, batch_size=0)
    with pytest.raises(ValueError, match="empty"):
        NetworkTrainer(network).train(ReplayBuffer(5), 1)
