"""The rule player: every move legal and the reference's; and what it makes of its bids."""

from __future__ import annotations

import random

import numpy as np
import pytest
from conversion import random_position, to_record
from hypothesis import given
from hypothesis import strategies as st
from reference_rule_player import merit
from reference_rules import BID, NO_TRUMP, Game, deal

from engine.game.rng import seed_stream
from engine.game.rules import CARDS, GAME, is_bidding, legal_mask, play_move
from engine.game.rules import deal as deal_record
from engine.matches.rule_player import play_by_rules, rule_move, trick_chance

TWO_OF_CLUBS, ACE_OF_CLUBS, TWO_OF_HEARTS, ACE_OF_HEARTS = 0, 12, 26, 38


@given(st.integers(0, 2**32 - 1))
def test_its_move_is_the_reference_s(seed: int) -> None:
    """In positions it would not come to itself, too; rounding may part equals."""
    game = random_position(seed)
    legal = game.legal_actions()
    action = int(rule_move(to_record(game)[0])) + (BID if game.is_bidding() else 0)
    assert action in legal
    merits = [merit(game, one) for one in legal]
    assert merit(game, action) == pytest.approx(max(merits), abs=1e-9)
    if sorted(merits)[-2:][0] < max(merits) - 1e-9:
        assert action == legal[merits.index(max(merits))]


@given(st.integers(0, 2**32 - 1), st.integers(3, 8), st.data())
def test_whole_games_keep_the_rules(seed: int, players: int, data: st.DataObject) -> None:
    """The dealer's bid and the duty to follow suit: the reference refuses what breaks them."""
    cards = data.draw(st.integers(1, min(13, CARDS // players)))
    rng = random.Random(seed)
    game = deal(players, cards, rng.randrange(players), rng.randrange(NO_TRUMP + 1), rng)
    record = to_record(game)[0]
    while not game.is_over():
        move = int(rule_move(record))
        assert int(legal_mask(record)) >> move & 1
        game.apply(move + (BID if is_bidding(record) else 0))  # raises where it is not legal
        play_move(record, move)
    assert record["tricks"][:players].tolist() == game.tricks_won


def test_it_sees_its_own_cards_only() -> None:
    """Other hands of the same size change no move."""
    for seed in range(100):
        game = random_position(seed)
        move = rule_move(to_record(game)[0])
        others = [seat for seat in range(game.players) if seat != game.mover]
        seen = game.hands[game.mover] | {card for _, card in game.played}
        unseen = random.Random(seed).sample(
            sorted(set(range(CARDS)) - seen), sum(len(game.hands[s]) for s in others)
        )
        for seat in others:
            size = len(game.hands[seat])
            game.hands[seat], unseen = set(unseen[:size]), unseen[size:]
        assert rule_move(to_record(game)[0]) == move


def chance(hand: set[int], card: int, trump: int = NO_TRUMP) -> float:
    """Of `card` in the first hand of a new deal of as many cards for each of three."""
    rest = [c for c in range(CARDS) if c not in hand]
    n = len(hand)
    return float(
        trick_chance(to_record(Game([hand, rest[:n], rest[n : 2 * n]], 2, trump))[0], card)
    )


def test_what_a_card_is_worth() -> None:
    hand = {TWO_OF_CLUBS, ACE_OF_CLUBS, TWO_OF_HEARTS, ACE_OF_HEARTS}
    assert chance(hand, ACE_OF_CLUBS) == 1
    # 11 clubs are higher and unseen, 8 of 48 unseen cards are in other hands.
    assert chance(hand, TWO_OF_CLUBS) == pytest.approx((1 - 8 / 48) ** 11)
    assert chance(hand, ACE_OF_CLUBS, trump=2) < 1 == chance(hand, ACE_OF_HEARTS, trump=2)
    assert chance(hand, TWO_OF_CLUBS, trump=2) < chance(hand, TWO_OF_HEARTS, trump=2)


@pytest.mark.parametrize(("players", "cards", "least"), [(4, 5, 0.52), (3, 7, 0.43), (5, 8, 0.55)])
def test_how_often_it_makes_its_bid(players: int, cards: int, least: float) -> None:
    """Among its like; a random player does in one of six (4 players, 5 cards)."""
    games, streams, made = np.zeros(1, GAME), np.zeros(1, np.uint64), 0
    for number in range(1000):
        seed_stream(streams, 0, 1, number, 0)
        deal_record(games[0], players, cards, streams, 0)
        play_by_rules(games[0])
        made += (games[0]["bids"] == games[0]["tricks"])[:players].sum()
    assert made / (1000 * players) > least
