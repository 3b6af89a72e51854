"""The reference rules against hand-written examples and the invariants of random games."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference_rules import BID, DECK, NO_TRUMP, Game, deal, suit_of

CLUBS, DIAMONDS, HEARTS, SPADES = range(4)
TWO, THREE, FIVE, SEVEN, NINE, KING, ACE = 0, 1, 3, 5, 7, 11, 12


def card(suit: int, rank: int) -> int:
    return suit * 13 + rank


def bid_all(game: Game, *bids: int) -> Game:
    """Make the bids in turn, the dealer's last."""
    for bid in bids:
        game.apply(BID + bid)
    return game


def one_trick(trump: int, *cards: int) -> Game:
    """Deal one card to each seat and let seat 0 lead; seats 0 and 1 bid one, the others none."""
    game = Game([[c] for c in cards], dealer=len(cards) - 1, trump=trump)
    bids = [1, 1] + [0] * (len(cards) - 2)
    bid_all(game, *bids)
    for c in cards:
        game.apply(c)
    return game


@pytest.mark.parametrize(
    ("trump", "cards", "winner"),
    [
        pytest.param(
            NO_TRUMP,
            [card(CLUBS, FIVE), card(CLUBS, KING), card(CLUBS, NINE)],
            1,
            id="highest-of-the-led-suit",
        ),
        pytest.param(
            NO_TRUMP,
            [card(CLUBS, TWO), card(SPADES, ACE), card(HEARTS, ACE)],
            0,
            id="discards-never-win",
        ),
        pytest.param(
            HEARTS,
            [card(CLUBS, ACE), card(HEARTS, TWO), card(CLUBS, KING)],
            1,
            id="lowest-trump-beats-led-ace",
        ),
        pytest.param(
            HEARTS,
            [card(CLUBS, ACE), card(HEARTS, TWO), card(HEARTS, THREE)],
            2,
            id="overtrumped",
        ),
        pytest.param(
            HEARTS,
            [card(CLUBS, ACE), card(HEARTS, THREE), card(HEARTS, TWO)],
            1,
            id="undertrumped",
        ),
        pytest.param(
            HEARTS,
            [card(HEARTS, SEVEN), card(SPADES, ACE), card(HEARTS, NINE)],
            2,
            id="trump-led",
        ),
        pytest.param(
            SPADES,
            [card(DIAMONDS, SEVEN), card(CLUBS, ACE), card(DIAMONDS, FIVE), card(HEARTS, ACE)],
            0,
            id="nobody-trumps",
        ),
    ],
)
def test_who_wins_a_trick(trump: int, cards: list[int], winner: int) -> None:
    game = one_trick(trump, *cards)

    assert game.is_over()
    assert game.legal_actions() == []
    assert game.tricks_won == [int(seat == winner) for seat in range(len(cards))]


def test_bidding_goes_round_from_the_dealers_left() -> None:
    game = Game([[0, 1], [13, 14], [26, 27]], dealer=1, trump=NO_TRUMP)

    seats = []
    while game.is_bidding():
        seats.append(game.mover)
        game.apply(game.legal_actions()[0])

    assert seats == [2, 0, 1]
    assert game.mover == 2


def test_dealer_may_not_make_the_bids_fit() -> None:
    game = bid_all(Game([[0, 1], [13, 14], [26, 27]], dealer=2, trump=NO_TRUMP), 1, 0)

    assert game.legal_actions() == [BID + 0, BID + 2]
    with pytest.raises(ValueError, match="not legal"):
        game.apply(BID + 1)


def test_dealer_is_free_once_the_bids_exceed_the_cards() -> None:
    game = bid_all(Game([[0, 1], [13, 14], [26, 27]], dealer=2, trump=NO_TRUMP), 2, 1)

    assert game.legal_actions() == [BID + 0, BID + 1, BID + 2]


def test_dealer_of_one_card_may_have_no_choice() -> None:
    game = bid_all(Game([[0], [13], [26]], dealer=2, trump=NO_TRUMP), 1, 0)

    assert game.legal_actions() == [BID + 1]


def test_a_deal_played_by_hand() -> None:
    """Three players, three cards, hearts are trump; every public fact after every play."""
    hands = [
        [card(CLUBS, ACE), card(CLUBS, TWO), card(HEARTS, TWO)],
        [card(CLUBS, KING), card(DIAMONDS, FIVE), card(SPADES, ACE)],
        [card(DIAMONDS, NINE), card(HEARTS, KING), card(SPADES, TWO)],
    ]
    game = bid_all(Game(hands, dealer=2, trump=HEARTS), 2, 0, 3)
    assert game.winning() is None

    game.apply(card(CLUBS, ACE))
    assert game.legal_actions() == [card(CLUBS, KING)], "seat 1 must follow clubs"
    game.apply(card(CLUBS, KING))
    assert game.winning() == (0, card(CLUBS, ACE))
    assert game.legal_actions() == sorted(hands[2]), "seat 2 has no club: anything goes"
    game.apply(card(HEARTS, KING))

    assert game.tricks_won == [0, 0, 1]
    assert game.voids == [set(), set(), {CLUBS}]
    assert (game.leader, game.mover, game.trick) == (2, 2, [])

    game.apply(card(DIAMONDS, NINE))
    assert game.legal_actions() == [card(CLUBS, TWO), card(HEARTS, TWO)]
    game.apply(card(CLUBS, TWO))
    assert game.winning() == (2, card(DIAMONDS, NINE))
    game.apply(card(DIAMONDS, FIVE))
    assert game.tricks_won == [0, 0, 2]
    assert game.voids == [{DIAMONDS}, set(), {CLUBS}]

    game.apply(card(SPADES, TWO))
    assert game.legal_actions() == [card(HEARTS, TWO)]
    game.apply(card(HEARTS, TWO))
    game.apply(card(SPADES, ACE))

    assert game.is_over()
    assert game.tricks_won == [1, 0, 2]
    assert game.scores() == [0, 10, 0]
    assert game.values() == [0.0, 10 / 13, 0.0]
    assert game.voids == [{DIAMONDS, SPADES}, set(), {CLUBS}]


def test_scores() -> None:
    game = Game([[0, 1, 2]] + [[13 * s, 13 * s + 1, 13 * s + 2] for s in (1, 2)], 2, NO_TRUMP)
    bid_all(game, 3, 0, 1)
    while not game.is_over():
        game.apply(game.legal_actions()[0])

    assert game.tricks_won == [3, 0, 0]
    assert game.scores() == [13, 10, 0]
    assert game.values() == [1.0, 10 / 13, 0.0]


def test_copy_is_independent() -> None:
    game = deal(4, 5, dealer=3, trump=HEARTS, rng=random.Random(7))
    bid_all(game, 1, 1, 1, 1)
    game.apply(game.legal_actions()[0])
    twin = game.copy()
    before = repr(vars(twin))

    while not game.is_over():
        game.apply(game.legal_actions()[-1])

    assert repr(vars(twin)) == before
    assert not twin.is_over()


def test_impossible_deals_are_refused() -> None:
    with pytest.raises(ValueError, match="dealt twice"):
        Game([[0], [0], [1]], dealer=0, trump=NO_TRUMP)
    with pytest.raises(ValueError, match="same number"):
        Game([[0], [1], [2, 3]], dealer=0, trump=NO_TRUMP)


@given(st.data())
def test_random_games_keep_the_rules(data: st.DataObject) -> None:
    players = data.draw(st.integers(3, 8), "players")
    cards = data.draw(st.integers(1, min(13, DECK // players)), "cards")
    dealer = data.draw(st.integers(0, players - 1), "dealer")
    trump = data.draw(st.integers(0, NO_TRUMP), "trump")
    rng = random.Random(data.draw(st.integers(0, 2**32 - 1), "seed"))
    game = deal(players, cards, dealer, trump, rng)
    dealt = [set(hand) for hand in game.hands]
    actions_taken = 0

    while not game.is_over():
        legal = game.legal_actions()
        assert legal
        assert legal == sorted(set(legal))
        game.apply(rng.choice(legal))
        actions_taken += 1

        for seat in range(players):
            played_by_seat = {c for s, c in game.played if s == seat}
            assert game.hands[seat] | played_by_seat == dealt[seat]
            assert not game.hands[seat] & played_by_seat
            assert not {suit_of(c) for c in game.hands[seat]} & game.voids[seat]
        assert sum(game.tricks_won) == len(game.played) // players
        assert game.trick == game.played[len(game.played) - len(game.trick) :]

    assert actions_taken == players * (1 + cards)
    assert not any(game.hands)
    assert sum(game.tricks_won) == cards
    bids = [bid for bid in game.bids if bid is not None]
    assert len(bids) == players
    assert sum(bids) != cards
    assert all(0 <= bid <= cards for bid in bids)
    for score, bid, won in zip(game.scores(), bids, game.tricks_won, strict=True):
        assert score == (10 + bid if bid == won else 0)
    assert all(0.0 <= value <= 1.0 for value in game.values())
    assert min(game.scores()) == 0, "the bids do not fit the tricks, so somebody fails"
