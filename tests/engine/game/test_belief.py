"""Determinizations: always consistent, and uniform over the consistent deals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from conversion import cards_of, random_position, to_record, void_position
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_belief import Hands, consistent_deals, count_consistent_deals, unseen_cards
from reference_rules import Game, suit_of

from engine.game.belief import determinize, new_belief, prepare, ways_for_seat
from engine.game.rng import seed_stream
from engine.game.rules import DECK


def draw(game: Game, count: int, seed: int = 0) -> list[Hands]:
    """`count` determinizations as the mover of `game` would draw them."""
    records, belief, streams = to_record(game), new_belief(), np.zeros(1, np.uint64)
    seed_stream(streams, 0, seed, 0, 1)
    prepare(belief, records[0])
    hands = []
    for _ in range(count):
        deals = records.copy()
        determinize(belief, deals[0], streams, 0)
        hands.append(tuple(frozenset(cards_of(int(h))) for h in deals[0]["hands"][: game.players]))
    return hands


@given(seed=st.integers(0, 2**32))
def test_every_draw_is_consistent(seed: int) -> None:
    check_consistent(random_position(seed), seed)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), players=st.sampled_from([3, 4]))
def test_every_draw_is_consistent_late_in_games_of_13_cards(seed: int, players: int) -> None:
    check_consistent(void_position(seed, players, 13), seed)


def check_consistent(game: Game, seed: int) -> None:
    allowed = unseen_cards(game, game.mover)
    for hands in draw(game, 4, seed):
        assert hands[game.mover] == game.hands[game.mover]
        others = [hand for seat, hand in enumerate(hands) if seat != game.mover]
        assert sum(map(len, others)) == len(frozenset().union(*others))
        assert frozenset().union(*others) <= allowed
        for seat, hand in enumerate(hands):
            assert len(hand) == len(game.hands[seat])
            if seat != game.mover:
                assert not {suit_of(card) for card in hand} & game.voids[seat]


def test_different_draws_differ() -> None:
    assert len(set(draw(random_position(3, 4, 5, moves=4), 50))) > 45


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), players=st.integers(3, 5))
def test_the_count_of_deals_to_constrained_seats_is_exact(seed: int, players: int) -> None:
    """The weight of the first split, summed, times the ways of the rest = all deals."""
    game = void_position(seed, players, 4)
    records, belief = to_record(game), new_belief()
    prepare(belief, records[0])
    left = [int(suit).bit_count() for suit in belief.unseen]
    constrained = ways_for_seat(belief, records[0], 0, *left)
    seats = belief.seats[: belief.constrained[0]].tolist()
    rest = sum(left) - sum(len(game.hands[seat]) for seat in seats)
    ways = 1.0
    for seat in range(players):
        if seat != game.mover and seat not in seats:
            for k in range(len(game.hands[seat])):
                ways *= rest / (k + 1)
                rest -= 1
    assert constrained * ways == pytest.approx(count_consistent_deals(game, game.mover), rel=1e-9)


def small_games() -> list[Game]:
    """Positions with voids and few consistent deals, on a deck cut down by calling cards gone."""
    games: list[Game] = []
    seed = 0
    while len(games) < 6:
        seed += 1
        game = void_position(seed, 3 + seed % 2, 4)
        unseen = sorted(unseen_cards(game, game.mover))
        held = {card for hand in game.hands for card in hand}
        spare = [card for card in unseen if card not in held]
        # All but four of the undealt cards count as played: enumeration stays small.
        game.played = [(-1, card) for card in spare[4:]] + game.played
        voids = sum(bool(game.voids[s] and game.hands[s]) for s in range(game.players))
        if voids >= 1 + len(games) % 2 and 6 <= count_consistent_deals(game, game.mover) <= 400:
            games.append(game)
    return games


@pytest.mark.parametrize("game", small_games(), ids=lambda g: f"{g.players}-{g.trump}")
def test_draws_are_uniform_over_the_consistent_deals(game: Game) -> None:
    """Chi-squared over all consistent deals; six sigma of its normal approximation."""
    deals = list(consistent_deals(game, game.mover))
    draws = Counter(draw(game, 60 * len(deals)))
    assert set(draws) <= set(deals)
    chi_squared = sum((draws[deal] - 60) ** 2 / 60 for deal in deals)
    freedom = len(deals) - 1
    assert chi_squared < freedom + 6 * np.sqrt(2 * freedom)


def test_the_chi_squared_test_can_fail() -> None:
    """Drawing from the first half of the deals only is far outside."""
    deals = 40
    chi_squared = deals // 2 * (120 - 60) ** 2 / 60 + deals // 2 * 60
    assert chi_squared > deals - 1 + 6 * np.sqrt(2 * (deals - 1))


def test_nothing_is_drawn_from_outside_the_deck() -> None:
    for hands in draw(random_position(11, 8, 6, moves=0), 20):
        assert sum(1 << card for hand in hands for card in hand) <= DECK
