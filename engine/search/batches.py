"""Sizes and memory of the batches that lanes send to the network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from engine.game.encoding import STATE_DIM
from engine.network.blobnet import ANSWERS
from engine.network.evaluator import PAD, padded
from engine.search.lanes import ROW, Batch

FULL_SHARE = 0.75
"""Share of all trees that nearly always wait for the network at once (measured mean: 0.82)."""


def batch_rows(lanes: int, determinizations: int) -> int:
    """Rows of the batch that `lanes` lanes keep full; a multiple of PAD, or one lane's trees."""
    return max(determinizations, int(lanes * determinizations * FULL_SHARE) // PAD * PAD)


def new_batch(rows: int, pinned: bool) -> Batch:
    """A batch of `rows` rounded up to PAD; `pinned`: in page-locked memory, for copies to CUDA."""
    rows = padded(rows)

    def zeros(columns: int) -> NDArray[np.float32]:
        return torch.zeros(rows, columns, pin_memory=pinned).numpy()

    return Batch(rows=np.zeros(rows, ROW), states=zeros(STATE_DIM), answers=zeros(ANSWERS))
