"""Permutations of the suits: positions that differ only in the names of suits are equivalent.

In an encoded position trump is suit 0 and the other three may be permuted, in six ways. Without a
trump all four could be; the six orders used are then 6 of 24.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from engine.game.encoding import GLOBALS, GONE, HAND, SEAT_FLOATS, SEATS, STATE_DIM, TABLE
from engine.game.rules import ACTIONS, MAX_PLAYERS, RANKS, SUITS

ORDERS = [(0, *rest) for rest in permutations(range(1, SUITS))]
"""New suit k is the old suit ORDERS[i][k]; the first order is the identity."""
FIRST_VOID, FIRST_LED = 7, 6
"""Index of the first void among a seat's floats, and of the led suit among the global floats."""


def _columns(width: int, starts: list[int], length: int, order: tuple[int, ...]) -> list[int]:
    """The old column of each of `width` new ones; each start has a block of `length` per suit."""
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
"""[6, STATE_DIM] index of the old float for each new one."""
ACTION_COLUMNS = np.stack([np.array(_columns(ACTIONS, [0], RANKS, order)) for order in ORDERS])
"""[6, ACTIONS] the old action for each new one."""
