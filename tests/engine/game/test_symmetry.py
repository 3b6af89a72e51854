"""Permuted suits: the same position to the encoder and to the replay buffer."""

from __future__ import annotations

import numpy as np
from conversion import random_position, to_record
from hypothesis import given
from hypothesis import strategies as st

from engine.game.encoding import ActionMasker, StateEncoder
from engine.game.rules import ACTIONS, BID, NO_TRUMP, Games
from engine.game.symmetry import ACTION_COLUMNS, ORDERS, STATE_COLUMNS
from engine.search.examples import empty_examples
from engine.training.replay import ReplayBuffer


def renamed(games: Games, order: tuple[int, ...]) -> Games:
    """A position [1] in which the suit that the encoder calls k is what it called order[k]."""
    new, game = games.copy(), games[0]
    trump = int(game["trump"])
    first = [] if trump == NO_TRUMP else [trump]
    names = first + [suit for suit in range(4) if suit not in first]
    suits = {names[old]: names[k] for k, old in enumerate(order)}
    cards = {13 * s + rank: 13 * suits[s] + rank for s in range(4) for rank in range(13)}

    def moved(bits: int, places: dict[int, int]) -> int:
        return sum(1 << new for old, new in places.items() if int(bits) >> old & 1)

    new[0]["played"] = moved(game["played"], cards)
    for seat in range(len(game["hands"])):
        new[0]["hands"][seat] = moved(game["hands"][seat], cards)
        new[0]["voids"][seat] = moved(game["voids"][seat], suits)
        new[0]["table"][seat] = cards.get(int(game["table"][seat]), -1)
    return new


@given(seed=st.integers(0, 2**32), which=st.integers(0, len(ORDERS) - 1))
def test_a_position_under_other_names_is_the_same_floats_in_another_order(
    seed: int, which: int
) -> None:
    games = to_record(random_position(seed))
    other = renamed(games, ORDERS[which])
    encode, mask = StateEncoder().encode, ActionMasker().mask
    np.testing.assert_array_equal(encode(other)[0], encode(games)[0][STATE_COLUMNS[which]])
    np.testing.assert_array_equal(mask(other)[0], mask(games)[0][ACTION_COLUMNS[which]])


def test_samples_come_under_all_names_and_fit_together() -> None:
    buffer = ReplayBuffer(1)
    example = empty_examples(1)
    example.states[:] = np.arange(example.states.shape[1])
    example.policy[:] = np.arange(ACTIONS)
    example.legal[0, [3, 20, 33, 51, BID]] = True
    buffer.add(example)
    drawn = buffer.sample(200)
    orders = {tuple(row) for row in drawn.policy.astype(int).tolist()}
    assert orders == {tuple(row) for row in ACTION_COLUMNS.tolist()}
    for state, policy, legal in zip(drawn.states, drawn.policy, drawn.legal, strict=True):
        np.testing.assert_array_equal(state[:52], policy[:52])
        assert set(policy[legal]) == {3, 20, 33, 51, BID}
