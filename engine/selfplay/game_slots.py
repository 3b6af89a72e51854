"""Collects the examples of games that finish in any order."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine.search.examples import Examples, empty_examples


class GameSlots:
    """Takes in the examples of `games` games in any order, returns them in the games' order.

    Each game has a slot of `longest` rows, so no example is ever held twice: neither while
    examples come in nor when `close` compacts the slots in place.
    """

    def __init__(self, games: int, longest: int) -> None:
        self._longest = longest
        self._rows = np.zeros(games, np.int64)
        self._examples = empty_examples(games * longest)

    def put(self, game: int, examples: Examples) -> None:
        """Store the examples of the game with index `game`, replacing any stored before."""
        start, rows = game * self._longest, examples.rows
        for name in Examples._fields:
            getattr(self._examples, name)[start : start + rows] = getattr(examples, name)
        self._rows[game] = rows

    def put_games(self, examples: Examples, games: Iterable[int], first: int) -> None:
        """Store those of `examples` that belong to `games`; game `first` has index 0.

        The rows of one game must be contiguous.
        """
        starts = np.flatnonzero(np.diff(examples.game, prepend=-1))
        ends = np.append(starts[1:], examples.rows)
        wanted = set(games)
        for start, end in zip(starts, ends, strict=True):
            game = int(examples.game[start])
            if game in wanted:
                self.put(game - first, Examples._make(column[start:end] for column in examples))

    def close(self) -> Examples:
        """All examples, [N] rows; the slots are empty afterwards."""
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
