"""The rules' kernels against the plain reference."""

from __future__ import annotations

import random

import numpy as np
import pytest
from conversion import cards_of, mask_of, random_position, to_record, to_reference
from hypothesis import given
from hypothesis import strategies as st
from reference_rules import BID, deal

from engine.game import rules
from engine.game.rng import seed_stream


def kernel_actions(record: np.void) -> list[int]:
    base = BID if rules.is_bidding(record) else 0
    return [base + move for move in cards_of(int(rules.legal_mask(record)))]


@given(seed=st.integers(0, 2**32), players=st.integers(3, 8))
def test_random_play_to_the_end_is_the_reference_game(seed: int, players: int) -> None:
    rng = random.Random(seed)
    cards = rng.randint(1, min(13, 52 // players))
    game = deal(players, cards, rng.randrange(players), rng.randrange(5), rng)
    records = to_record(game)
    dealt = mask_of([card for hand in game.hands for card in hand])
    while not game.is_over():
        assert not rules.is_over(records[0])
        assert kernel_actions(records[0]) == game.legal_actions()
        action = rng.choice(game.legal_actions())
        game.apply(action)
        rules.play_move(records[0], action % BID if action >= BID else action)
        assert records[0] == to_record(game)[0]
        held = 0
        for hand in records[0]["hands"]:
            assert not held & int(hand)
            held |= int(hand)
        assert held | int(records[0]["played"]) == dealt
    assert rules.is_over(records[0])
    assert [rules.value(records[0], seat) for seat in range(players)] == game.values()


@given(seed=st.integers(0, 2**32))
def test_forced_moves_are_those_without_an_alternative(seed: int) -> None:
    game = random_position(seed)
    records = to_record(game)
    while not game.is_over() and len(game.legal_actions()) == 1:
        game.apply(game.legal_actions()[0])
    rules.play_forced(records[0])
    assert records[0] == to_record(game)[0]


@given(seed=st.integers(0, 2**32))
def test_conversion_keeps_what_is_public(seed: int) -> None:
    records = to_record(random_position(seed))
    assert to_record(to_reference(records[0]))[0] == records[0]


@pytest.mark.parametrize(("players", "cards"), [(3, 13), (4, 13), (4, 1), (8, 6), (5, 10)])
def test_a_deal_gives_every_seat_its_cards(players: int, cards: int) -> None:
    records, streams = np.zeros(1, rules.GAME), np.zeros(1, np.uint64)
    trumps, dealers, first_cards = set(), set(), np.zeros(52, int)
    for game in range(600):
        seed_stream(streams, 0, 1, game, 0)
        rules.deal(records[0], players, cards, streams, 0)
        hands = [cards_of(int(hand)) for hand in records[0]["hands"]]
        assert [len(hand) for hand in hands] == [cards] * players + [0] * (8 - players)
        assert len({card for hand in hands for card in hand}) == players * cards
        trumps.add(int(records[0]["trump"]))
        dealers.add(int(records[0]["dealer"]))
        first_cards[hands[0]] += 1
    assert trumps == set(range(5))
    assert dealers == set(range(players))
    expected = 600 * cards / 52
    assert np.all(np.abs(first_cards - expected) < 6 * np.sqrt(expected))


@pytest.mark.parametrize(
    ("players", "cards", "words"),
    [(2, 5, "players"), (9, 5, "players"), (4, 14, "cards"), (8, 7, "1 to 6"), (4, 0, "cards")],
)
def test_an_illegal_setting_is_refused(players: int, cards: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rules.check_setting(players, cards)


def test_every_legal_setting_is_accepted() -> None:
    for players in range(3, 9):
        for cards in range(1, min(13, 52 // players) + 1):
            rules.check_setting(players, cards)
