"""How many bytes the engine needs, computed from its own arrays and networks.

Figures are per unit (a lane, a row of a batch, an example), so that a reader can scale them. On a
GPU torch's allocator rounds up (blocks to 512 B, segments to 2 or 20 MiB), so a real worker takes a
little more than the sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from engine.game.encoding import STATE_DIM
from engine.game.rules import ACTIONS, MAX_PLAYERS
from engine.network.blobnet import ANSWERS, BlobNet, InferenceNet, NetworkConfig
from engine.network.evaluator import PAD
from engine.search.batches import FULL_SHARE, new_batch
from engine.search.lanes import SearchConfig, new_lanes
from engine.search.trees import new_trees
from engine.selfplay.worker_layout import groups_on
from engine.training.replay import ReplayBuffer


class MemoryFigures(NamedTuple):
    """Sizes for one network and one search."""

    parameters: int
    """Numbers in the plain network, which is trained; float32."""
    inference_parameters: int
    """Numbers in its inference form."""
    folding_bytes: int
    """Float64 scratch while the inference form is computed, on the worker's device."""
    activation_row_bytes: dict[str, int]
    """By dtype: peak per row of a batch in the inference form; see `activation_row_bytes`."""
    training_row_bytes: int
    """Per row of a training batch: what the forward pass keeps for the backward pass."""
    batch_row_bytes: int
    """Per row of a batch, on the host: position, answers, and where they belong."""
    lane_bytes: int
    """Per game in progress, on the host: its examples so far and its trees."""
    trees_per_lane: int
    example_bytes: int
    """Per example in the replay buffer, on the host."""
    row_multiple: int
    """A batch has a multiple of this many rows."""
    full_share: float
    """Rows of a batch ÷ trees of its lanes, before rounding."""
    groups_per_thread: int
    """Groups of lanes of a search thread on CUDA, each with a batch of its own."""


def memory_figures(network: NetworkConfig, search: SearchConfig) -> MemoryFigures:
    """The figures of a network and a search."""
    plain, folded = _networks(network)
    return MemoryFigures(
        parameters=_numbers(plain),
        inference_parameters=_numbers(folded),
        folding_bytes=folding_bytes(network),
        activation_row_bytes={
            "float32": activation_row_bytes(network, torch.float32),
            "bfloat16": activation_row_bytes(network, torch.bfloat16),
        },
        training_row_bytes=training_row_bytes(network),
        batch_row_bytes=_nbytes(new_batch(PAD, pinned=False)) // PAD,
        lane_bytes=lane_bytes(search),
        trees_per_lane=search.determinizations,
        example_bytes=example_bytes(),
        row_multiple=PAD,
        full_share=FULL_SHARE,
        groups_per_thread=groups_on(torch.device("cuda")),
    )


def lane_bytes(search: SearchConfig) -> int:
    """Bytes of a game in progress: its examples so far and its trees."""
    trees = new_trees(search.determinizations, search.simulations, search.cards)
    return _nbytes(new_lanes(1, search)) + _nbytes(trees)


def example_bytes() -> int:
    """Bytes of an example in the replay buffer."""
    buffer = ReplayBuffer(1)
    return _nbytes(buffer.examples) + buffer.uses.nbytes


def folding_bytes(network: NetworkConfig) -> int:
    """Peak of float64 scratch while the inference form is computed.

    Every layer's I + Wo Wv is kept until all are written, beside at most four matrices of that
    size in the current product.
    """
    return 8 * (network.num_layers + 4) * network.embedding_dim**2


def activation_row_bytes(network: NetworkConfig, dtype: torch.dtype) -> int:
    """Most bytes alive at once for a row of a batch in the inference form, not packed.

    That is before a layer's second norm: the layer's input, the wide layer, its product, and the
    sum with the input; beside them the states and answers in float32, and the states in `dtype`
    where that is another.
    """
    size = dtype.itemsize
    converted = STATE_DIM * size if dtype != torch.float32 else 0
    alive = size * (3 * network.embedding_dim + network.feedforward_dim)
    return 4 * (STATE_DIM + ANSWERS) + converted + alive


def training_row_bytes(network: NetworkConfig) -> int:
    """Bytes per row that the forward pass keeps for the backward pass.

    In float32: the inputs of linear layers, norms (with mean and deviation) and ReLUs, and both
    losses' logits and targets; as bytes: the legal moves, twice, and the seats.
    """
    dim = network.embedding_dim
    layers = network.num_layers * (5 * dim + network.feedforward_dim + 4)
    floats = STATE_DIM + layers + dim + dim + dim // 2 + 2 * ANSWERS
    return 4 * floats + 2 * ACTIONS + MAX_PLAYERS


def _networks(config: NetworkConfig) -> tuple[BlobNet, InferenceNet]:
    """Both forms on the meta device, where tensors have shapes but no memory."""
    with torch.device("meta"):
        plain = BlobNet(STATE_DIM, *config)
    return plain, InferenceNet(plain)


def _numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _nbytes(arrays: Iterable[np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays)
