"""The enumeration of consistent deals against the count, and both against arithmetic."""

import random
from math import comb

from hypothesis import given
from hypothesis import strategies as st
from reference_belief import consistent_deals, count_consistent_deals, unseen_cards
from reference_rules import BID, NO_TRUMP, Game, deal, suit_of


def test_without_voids_the_count_is_a_multinomial() -> None:
    game = deal(4, 5, dealer=0, trump=1, rng=random.Random(1))

    expected = comb(47, 5) * comb(42, 5) * comb(37, 5)

    assert count_consistent_deals(game, observer=2) == expected


def test_one_card_each_from_the_full_deck() -> None:
    game = deal(3, 1, dealer=0, trump=1, rng=random.Random(1))

    deals = list(consistent_deals(game, observer=0))

    assert len(deals) == len(set(deals)) == 51 * 50
    assert count_consistent_deals(game, observer=0) == 51 * 50


def test_a_known_void_by_hand() -> None:
    """Seat 1 showed no club; it and seat 2 hold one card each of clubs 5, 6 and diamond 4."""
    club_1, club_2, club_3, club_5, club_6 = range(5)
    diamond_3, diamond_4 = 13, 14
    game = Game(
        [[club_1, club_2], [diamond_3, diamond_4], [club_3, club_5]], dealer=2, trump=NO_TRUMP
    )
    for action in (BID, BID, BID, club_2, diamond_3, club_3):
        game.apply(action)

    deals = set(consistent_deals(game, observer=0, unseen={club_5, club_6, diamond_4}))

    mine, seat_1 = frozenset({club_1}), frozenset({diamond_4})
    assert deals == {
        (mine, seat_1, frozenset({club_5})),
        (mine, seat_1, frozenset({club_6})),
    }
    assert count_consistent_deals(game, 0, {club_5, club_6, diamond_4}) == 2
    assert count_consistent_deals(game, 0, {club_5, club_6}) == 0


@given(st.data())
def test_enumeration_and_count_agree(data: st.DataObject) -> None:
    players = data.draw(st.integers(3, 4), "players")
    cards = data.draw(st.integers(1, 3 if players == 3 else 2), "cards")
    rng = random.Random(data.draw(st.integers(0, 2**32 - 1), "seed"))
    game = deal(players, cards, dealer=rng.randrange(players), trump=rng.randrange(5), rng=rng)
    for _ in range(data.draw(st.integers(0, players * (1 + cards)), "moves")):
        game.apply(rng.choice(game.legal_actions()))
    observer = rng.randrange(players)

    everything_unseen = unseen_cards(game, observer)
    held_by_others = {c for s in range(players) if s != observer for c in game.hands[s]}
    stub = rng.sample(sorted(everything_unseen - held_by_others), 2)
    unseen = held_by_others | set(stub)

    deals = list(consistent_deals(game, observer, unseen))

    assert len(deals) == len(set(deals)) == count_consistent_deals(game, observer, unseen)
    assert tuple(frozenset(hand) for hand in game.hands) in deals, "the truth is consistent"
    for hands in deals:
        assert hands[observer] == game.hands[observer]
        for seat in range(players):
            assert len(hands[seat]) == len(game.hands[seat])
            assert not {suit_of(c) for c in hands[seat]} & game.voids[seat]
            assert seat == observer or hands[seat] <= unseen
        assert len(frozenset().union(*hands)) == sum(map(len, hands)), "no card dealt twice"
