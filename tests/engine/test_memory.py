"""The engine's own sizes against its real arrays and what torch allocates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from engine import memory
from engine.game.encoding import STATE_DIM
from engine.game.rules import ACTIONS, MAX_PLAYERS
from engine.network.blobnet import (
    ANSWERS,
    FoldedLinear,
    InferenceNet,
    NetworkConfig,
    build_network,
)
from engine.search.batches import new_batch
from engine.search.lanes import SearchConfig, new_group, temperature_table
from engine.training.replay import ReplayBuffer
from engine.training.trainer import policy_loss, value_loss

NETWORKS = [NetworkConfig(), NetworkConfig(64, 1, 4, 96), NetworkConfig(128, 3, 2, 512)]
ROWS = 1_024
"""So many that scratch of a fixed size is small beside them."""


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_every_weight_is_counted(network: NetworkConfig) -> None:
    figures = memory.memory_figures(network, SearchConfig())
    plain = build_network(network, "cpu")
    assert figures.parameters * 4 == sum(p.nbytes for p in plain.parameters())
    assert figures.inference_parameters * 4 == sum(
        p.nbytes for p in InferenceNet(plain).parameters()
    )


@pytest.mark.parametrize(("players", "cards", "trees"), [(4, 5, 3), (6, 3, 5)])
def test_lanes_batches_and_examples_are_as_large_as_their_arrays(
    players: int, cards: int, trees: int
) -> None:
    search = SearchConfig(players=players, cards=cards, determinizations=trees, simulations=20)
    figures = memory.memory_figures(NETWORKS[1], search)
    batch = new_batch(64, pinned=False)
    group = new_group(search, 40, temperature_table(None, cards), batch)
    assert figures.lane_bytes * 40 == sum(a.nbytes for a in [*group.lanes, *group.trees])
    assert figures.batch_row_bytes * 64 == sum(array.nbytes for array in batch)
    buffer = ReplayBuffer(70)
    held = sum(array.nbytes for array in [*buffer.examples, buffer.uses])
    assert figures.example_bytes * 70 == held
    assert figures.trees_per_lane == trees


def peak_bytes(call: Callable[[], object]) -> int:
    """The most that `call` held at once of what it allocated from torch."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return int(np.cumsum([event.nbytes() for event in events]).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_activations_are_what_a_batch_allocates(network: NetworkConfig, dtype: torch.dtype) -> None:
    """On the CPU, with the layers as a GPU runs them: not packed."""
    folded = InferenceNet(build_network(network, "cpu")).to(dtype)
    assert not any(m.packed is not None for m in folded.modules() if isinstance(m, FoldedLinear))
    states = torch.zeros(ROWS, STATE_DIM)
    with torch.inference_mode():
        folded(states.to(dtype))
        seen = peak_bytes(lambda: folded(states.to(dtype)))
    outside = 4 * (STATE_DIM + ANSWERS)
    # Some kernels have scratch of their own, by thread: up to a twentieth of so small networks'.
    expected = ROWS * (memory.activation_row_bytes(network, dtype) - outside)
    assert seen == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_training_keeps_the_predicted_bytes(network: NetworkConfig) -> None:
    net = build_network(network, "cpu").train()
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    legal, seats = torch.ones(ROWS, ACTIONS) > 0, torch.ones(ROWS, MAX_PLAYERS) > 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits, values = net(torch.zeros(ROWS, STATE_DIM))
        loss = policy_loss(logits, legal, torch.full((ROWS, ACTIONS), 1 / ACTIONS))
        loss = loss + value_loss(values, torch.zeros(values.shape), seats)
    assert loss.requires_grad
    scalars = 64
    expected = ROWS * memory.training_row_bytes(network)
    assert sum(kept.values()) == pytest.approx(expected, abs=scalars)
