"""Training examples as arrays, and the buffer that keeps the newest of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.game.encoding import STATE_DIM
from engine.game.rules import ACTIONS, MAX_PLAYERS
from engine.game.symmetry import ACTION_COLUMNS, ORDERS, STATE_COLUMNS


class Examples(NamedTuple):
    """N decisions that were searched in full, column by column."""

    states: NDArray[np.float32]
    """[N, STATE_DIM] as the mover saw the position."""
    legal: NDArray[np.bool_]
    """[N, ACTIONS] what it could choose; suits relabelled as in the state."""
    policy: NDArray[np.float32]
    """[N, ACTIONS] share of the search's visits; sums to 1 over the legal actions."""
    outcome: NDArray[np.float32]
    """[N, MAX_PLAYERS] score ÷ (10 + cards) of each seat, counted from the mover; in [0, 1]."""
    seats: NDArray[np.bool_]
    """[N, MAX_PLAYERS] which of the outcome's seats play at all."""
    game: NDArray[np.int64]
    """[N] the game the decision was made in; with the seed it names the deal."""

    @property
    def rows(self) -> int:
        return len(self.game)


def empty_examples(count: int) -> Examples:
    """Zeroed room for `count` examples; memory is taken only where it is written."""
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


class GameSlots:
    """Takes in the examples of `games` games in any order, gives them out in the games' order.

    A game has a slot of `longest` rows, so that nothing is held twice: neither while examples come
    in, nor when the slots are closed up in place.
    """

    def __init__(self, games: int, longest: int) -> None:
        self._longest = longest
        self._rows = np.zeros(games, np.int64)
        self._examples = empty_examples(games * longest)

    def put(self, game: int, examples: Examples) -> None:
        """File the examples of the game with this index; again: in the place of the first."""
        start, rows = game * self._longest, examples.rows
        for name in Examples._fields:
            getattr(self._examples, name)[start : start + rows] = getattr(examples, name)
        self._rows[game] = rows

    def close(self) -> Examples:
        """All examples, [N] rows; the slots are gone afterwards."""
        total = int(self._rows.sum())
        examples, self._examples = self._examples, empty_examples(0)
        for column in examples:
            target = 0
            for game, rows in enumerate(self._rows.tolist()):
                start = game * self._longest
                column[target : target + rows] = column[start : start + rows]
                target += rows
            column.resize((total, *column.shape[1:]), refcheck=False)
        return examples


class ReplayBuffer:
    """The newest `capacity` examples in contiguous arrays, overwritten oldest first.

    Batches are drawn from the newest `window` of them, by default all.
    Raises ValueError for a capacity below 1.
    """

    def __init__(self, capacity: int, seed: int = 0) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.window = capacity
        self.added = 0
        """Examples ever added, those that were overwritten included."""
        self.uses = np.zeros(capacity, np.int32)
        """[capacity] how often the example at each place has been drawn."""
        self.examples = empty_examples(capacity)
        """By place; only those that were written mean anything."""
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, examples: Examples) -> None:
        """Append, overwriting the oldest; of more than `capacity` only the newest are kept."""
        newest = Examples._make(column[-self.capacity :] for column in examples)
        skipped = examples.rows - newest.rows
        where = (self.added + skipped + np.arange(newest.rows)) % self.capacity
        for name in Examples._fields:
            getattr(self.examples, name)[where] = getattr(newest, name)
        self.uses[where] = 0
        self.added += examples.rows

    def sample(self, count: int) -> Examples:
        """`count` examples drawn uniformly with replacement, their suits under random names.

        Raises ValueError when empty.
        """
        if not self.added:
            raise ValueError("the replay buffer is empty: add examples before sampling")
        first = self.added - min(len(self), self.window)
        places = self._random.integers(first, self.added, size=count) % self.capacity
        np.add.at(self.uses, places, 1)
        order = self._random.integers(len(ORDERS), size=count)
        rows, actions = places[:, None], ACTION_COLUMNS[order]
        kept = self.examples
        return Examples(
            states=kept.states[rows, STATE_COLUMNS[order]],
            legal=kept.legal[rows, actions],
            policy=kept.policy[rows, actions],
            outcome=kept.outcome[places],
            seats=kept.seats[places],
            game=kept.game[places],
        )

    @property
    def places(self) -> NDArray[np.int64]:
        """The places of the window's examples, oldest first."""
        within = min(len(self), self.window)
        return np.arange(self.added - within, self.added) % self.capacity

    @property
    def sampler(self) -> dict[str, Any]:
        """The state of what draws, as plain values."""
        return dict(self._random.bit_generator.state)

    @sampler.setter
    def sampler(self, state: dict[str, Any]) -> None:
        self._random.bit_generator.state = state
