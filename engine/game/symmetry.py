"""Positions that differ only in the names of suits are the same position: one example gives six.

The encoding calls trump 0; the other three suits may change names. Without a trump all four might:
the six orders used are then some of 24.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from engine.game.encoding import GLOBALS, GONE, HAND, SEAT_FLOATS, SEATS, STATE_DIM, TABLE
from engine.game.rules import ACTIONS, MAX_PLAYERS, RANKS, SUITS

ORDERS = [(0, *rest) for rest in permutations(range(1, SUITS))]
"""New suit k is the old suit ORDERS[i][k]; the first order leaves all as it is."""
FIRST_VOID, FIRST_LED = 7, 6
"""Among a seat's floats; among the floats of the whole position."""


def _columns(width: int, starts: list[int], length: int, order: tuple[int, ...]) -> list[int]:
    """Where each of `width` columns comes from: a block of `length` a suit begins at each start."""
    columns = list(range(width))
    for start in starts:
        for new, old in enumerate(order):
            for k in range(length):
                columns[start + new * length + k] = start + old * length + k
    return columns


def _state_columns(order: tuple[int, ...]) -> NDArray[np.int64]:
    cards = np.array(_columns(STATE_DIM, [HAND, GONE, TABLE], RANKS, order))
    voids = [SEATS + seat * SEAT_FLOATS + FIRST_VOID for seat in range(MAX_PLAYERS)]
    return cards[_columns(STATE_DIM, [*voids, GLOBALS + FIRST_LED], 1, order)]


STATE_COLUMNS = np.stack([_state_columns(order) for order in ORDERS])
"""[6, STATE_DIM] which old float each new one is."""
ACTION_COLUMNS = np.stack([np.array(_columns(ACTIONS, [0], RANKS, order)) for order in ORDERS])
"""[6, ACTIONS] which old action each new one is."""
