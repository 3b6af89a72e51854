"""The encoding: complete for the mover, blind for everybody else's cards, trump first."""

from __future__ import annotations

import random

import numpy as np
import pytest
from conversion import random_position, to_record
from hypothesis import given
from hypothesis import strategies as st
from reference_belief import consistent_deals, unseen_cards
from reference_rules import BID, NO_TRUMP, Game, suit_of

from engine.game.encoding import (
    GLOBALS,
    GONE,
    HAND,
    SEAT_FLOATS,
    SEATS,
    STATE_DIM,
    TABLE,
    ActionMasker,
    StateEncoder,
)
from engine.game.rules import ACTIONS


def label(card: int, trump: int) -> int:
    """A card under the mover's names of the suits, written from the rule: trump comes first."""
    order = [trump] if trump != NO_TRUMP else []
    order += [suit for suit in range(4) if suit != trump]
    return order.index(suit_of(card)) * 13 + card % 13


@given(seed=st.integers(0, 2**32))
def test_each_float_means_what_the_table_says(seed: int) -> None:
    game = random_position(seed)
    state = StateEncoder().encode(to_record(game))[0]
    expected = np.zeros(STATE_DIM)
    on_table = {card for _, card in game.trick}
    for offset, cards in (
        (HAND, game.hands[game.mover]),
        (GONE, {card for _, card in game.played} - on_table),
        (TABLE, on_table),
    ):
        for card in cards:
            expected[offset + label(card, game.trump)] = 1
    winning = game.winning()
    for turn in range(game.players):
        seat = (game.mover + turn) % game.players
        bid, won = game.bids[seat], game.tricks_won[seat]
        expected[SEATS + SEAT_FLOATS * turn :][:7] = [
            1,
            bid is not None,
            (bid or 0) / game.cards,
            won / game.cards,
            (bid - won) / game.cards if bid is not None else 0,
            winning is not None and winning[0] == seat,
            seat == game.dealer,
        ]
        for suit in game.voids[seat]:
            expected[SEATS + SEAT_FLOATS * turn + 7 + label(suit * 13, game.trump) // 13] = 1
    bids = sum(bid for bid in game.bids if bid is not None)
    expected[GLOBALS:][:6] = [
        game.is_bidding(),
        game.trump != NO_TRUMP,
        game.cards / 13,
        (game.cards - sum(game.tricks_won)) / game.cards,
        (bids - game.cards) / game.cards,
        game.players / 8,
    ]
    if winning is not None:
        expected[GLOBALS + 6 + label(suit_of(game.trick[0][1]) * 13, game.trump) // 13] = 1
        expected[GLOBALS + 10] = (winning[1] % 13 + 1) / 13
        expected[GLOBALS + 11] = suit_of(winning[1]) == game.trump
    np.testing.assert_allclose(state, expected, rtol=1e-6)


@given(seed=st.integers(0, 2**32))
def test_hidden_cards_never_leak(seed: int) -> None:
    """Whatever deal the mover must hold possible, it sees the same."""
    game = random_position(seed)
    seen = StateEncoder().encode(to_record(game))
    rng = random.Random(seed)
    hidden = sorted(unseen_cards(game, game.mover))
    rng.shuffle(hidden)
    for seat in range(game.players):
        if seat != game.mover:
            size = len(game.hands[seat])
            game.hands[seat] = set(hidden[:size])
            hidden = hidden[size:]
    np.testing.assert_array_equal(StateEncoder().encode(to_record(game)), seen)


def test_what_the_mover_sees_does_change_the_encoding() -> None:
    game = random_position(5, 4, 5, moves=8)
    seen = StateEncoder().encode(to_record(game))
    other = game.copy()
    held = next(iter(other.hands[other.mover]))
    other.hands[other.mover].remove(held)
    other.hands[other.mover].add(min(unseen_cards(game, game.mover)))
    assert not np.array_equal(StateEncoder().encode(to_record(other)), seen)
    assert next(consistent_deals(game, game.mover))


@given(seed=st.integers(0, 2**32))
def test_the_mask_is_the_reference_s_legal_actions(seed: int) -> None:
    game = random_position(seed)
    mask = ActionMasker().mask(to_record(game))[0]
    expected = {a if a >= BID else label(a, game.trump) for a in game.legal_actions()}
    assert mask.shape == (ACTIONS,)
    assert set(np.flatnonzero(mask)) == expected


def swapped(game: Game, one: int, other: int) -> Game:
    """The game with two suits' names exchanged."""
    names = {one: other, other: one}

    def card(c: int) -> int:
        return names.get(suit_of(c), suit_of(c)) * 13 + c % 13

    twin = game.copy()
    twin.trump = names.get(game.trump, game.trump)
    twin.hands = [{card(c) for c in hand} for hand in game.hands]
    twin.trick = [(seat, card(c)) for seat, c in game.trick]
    twin.played = [(seat, card(c)) for seat, c in game.played]
    twin.voids = [{names.get(s, s) for s in suits} for suits in game.voids]
    return twin


def test_the_trump_suit_s_name_does_not_matter() -> None:
    for seed in range(50):
        game = random_position(seed, 4, 7)
        if game.trump not in (0, 1):
            continue
        # Neighbours in the order of suits: exchanging them leaves the others' order as it is.
        twin = swapped(game, 0, 1)
        np.testing.assert_array_equal(
            StateEncoder().encode(to_record(game)), StateEncoder().encode(to_record(twin))
        )


def test_other_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="dtype"):
        StateEncoder().encode(np.zeros(3))
    with pytest.raises(TypeError, match="dtype"):
        ActionMasker().mask(np.zeros(3))
