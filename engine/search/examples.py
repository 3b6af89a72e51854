"""Training examples as arrays: what a search leaves behind of each decision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.game.encoding import STATE_DIM
from engine.game.rules import ACTIONS, MAX_PLAYERS


class Examples(NamedTuple):
    """N decisions that were searched in full."""

    states: NDArray[np.float32]
    """[N, STATE_DIM] the position as its mover saw it."""
    legal: NDArray[np.bool_]
    """[N, ACTIONS] legal actions, suits as encoded in the state."""
    policy: NDArray[np.float32]
    """[N, ACTIONS] shares of the search's visits; sums to 1 over the legal actions."""
    outcome: NDArray[np.float32]
    """[N, MAX_PLAYERS] score ÷ (10 + cards) of each seat, counted from the mover; in [0, 1]."""
    seats: NDArray[np.bool_]
    """[N, MAX_PLAYERS] which of the outcome's seats are players."""
    game: NDArray[np.int64]
    """[N] number of the game the decision was made in; with the seed it determines the deal."""

    @property
    def rows(self) -> int:
        """N."""
        return len(self.game)


def empty_examples(count: int) -> Examples:
    """`count` zeroed examples; the system commits their memory only where it is written."""
    return Examples(
        states=np.zeros((count, STATE_DIM), np.float32),
        legal=np.zeros((count, ACTIONS), np.bool_),
        policy=np.zeros((count, ACTIONS), np.float32),
        outcome=np.zeros((count, MAX_PLAYERS), np.float32),
        seats=np.zeros((count, MAX_PLAYERS), np.bool_),
        game=np.zeros(count, np.int64),
    )


def join_examples(parts: Iterable[Examples]) -> Examples:
    """All examples of `parts`, in order."""
    parts = list(parts) or [empty_examples(0)]
    return Examples._make(np.concatenate(columns) for columns in zip(*parts, strict=True))
