"""The replay buffer: the newest examples, and batches drawn from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.game.symmetry import ACTION_COLUMNS, ORDERS, STATE_COLUMNS
from engine.search.examples import Examples, empty_examples


class ReplayBuffer:
    """The newest `capacity` examples in contiguous arrays; the oldest are overwritten first.

    Batches are drawn from the newest `window` examples, by default from all.
    Raises ValueError for a capacity below 1.
    """

    def __init__(self, capacity: int, seed: int = 0) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.window = capacity
        self.added = 0
        """Examples ever added, overwritten ones included."""
        self.uses = np.zeros(capacity, np.int32)
        """[capacity] how often the example at each index has been drawn."""
        self.examples = empty_examples(capacity)
        """[capacity] rows, of which the first `len(self)` are valid."""
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, examples: Examples) -> None:
        """Append `examples`, overwriting the oldest; only the newest `capacity` rows stay."""
        newest = Examples._make(column[-self.capacity :] for column in examples)
        skipped = examples.rows - newest.rows
        indices = (self.added + skipped + np.arange(newest.rows)) % self.capacity
        for name in Examples._fields:
            getattr(self.examples, name)[indices] = getattr(newest, name)
        self.uses[indices] = 0
        self.added += examples.rows

    def sample(self, count: int) -> Examples:
        """`count` examples drawn uniformly with replacement, each with its suits permuted.

        Raises ValueError when the buffer is empty.
        """
        if not self.added:
            raise ValueError("the replay buffer is empty: add examples before sampling")
        first = self.added - min(len(self), self.window)
        indices = self._random.integers(first, self.added, size=count) % self.capacity
        np.add.at(self.uses, indices, 1)
        order = self._random.integers(len(ORDERS), size=count)
        rows, actions = indices[:, None], ACTION_COLUMNS[order]
        source = self.examples
        return Examples(
            states=source.states[rows, STATE_COLUMNS[order]],
            legal=source.legal[rows, actions],
            policy=source.policy[rows, actions],
            outcome=source.outcome[indices],
            seats=source.seats[indices],
            game=source.game[indices],
        )

    @property
    def window_indices(self) -> NDArray[np.int64]:
        """[min(len, window)] indices of the window's examples, oldest first."""
        size = min(len(self), self.window)
        return np.arange(self.added - size, self.added) % self.capacity

    @property
    def sampler(self) -> dict[str, Any]:
        """State of the random generator that draws batches, as JSON values; can be set."""
        return dict(self._random.bit_generator.state)

    @sampler.setter
    def sampler(self, state: dict[str, Any]) -> None:
        self._random.bit_generator.state = state
