"""The replay buffer keeps the newest examples and draws them evenly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.search.examples import Examples, empty_examples, join_examples
from engine.selfplay.game_slots import GameSlots
from engine.training.replay import ReplayBuffer


def numbered(first: int, count: int) -> Examples:
    """Examples numbered in their states and games."""
    examples = empty_examples(count)
    examples.game[:] = np.arange(first, first + count)
    examples.states[:] = examples.game[:, None]
    return examples


@given(capacity=st.integers(1, 20), sizes=st.lists(st.integers(0, 30), max_size=8))
def test_the_newest_are_kept(capacity: int, sizes: list[int]) -> None:
    buffer, added = ReplayBuffer(capacity), 0
    for size in sizes:
        buffer.add(numbered(added, size))
        added += size
    assert len(buffer) == min(added, capacity)
    if added:
        drawn = buffer.sample(40 * capacity + 100)
        assert set(drawn.game) <= set(range(added - len(buffer), added))
        np.testing.assert_array_equal(drawn.states[:, 0], drawn.game)


@given(rows=st.lists(st.integers(0, 4), max_size=12), seed=st.integers(0, 99))
def test_games_come_out_in_their_order_whatever_the_order_they_came_in(
    rows: list[int], seed: int
) -> None:
    slots = GameSlots(len(rows), 4)
    firsts = np.cumsum([0, *rows])
    games = [numbered(first, count) for first, count in zip(firsts, rows, strict=False)]
    for game in np.random.default_rng(seed).permutation(len(rows)).tolist():
        slots.put(game, games[game])
    for mine, theirs in zip(slots.close(), join_examples(games), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_draws_are_even() -> None:
    buffer = ReplayBuffer(10, seed=1)
    buffer.add(numbered(0, 25))
    counts = np.bincount(buffer.sample(10_000).game, minlength=25)
    assert not counts[:15].any()
    assert np.abs(counts[15:] - 1000).max() < 6 * np.sqrt(1000)


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="capacity"):
        ReplayBuffer(0)
    with pytest.raises(ValueError, match="empty"):
        ReplayBuffer(5).sample(1)


def test_joining_nothing_gives_no_rows() -> None:
    assert join_examples([]).rows == 0
    assert join_examples([numbered(0, 2), numbered(2, 3)]).game.tolist() == [0, 1, 2, 3, 4]
