"""Determinizations: deals of the cards the mover cannot see that agree with what it has seen.

A determinization deals the unseen cards so that every hand keeps its size and no seat has a suit
that it failed to follow. It is uniform over all such deals. Seats with known voids ("constrained")
are dealt first, one after another: the number of cards of each suit is drawn with its exact weight,
counted by dynamic programming from the last seat back. The other seats, and the undealt cards,
share the rest uniformly, which they can in equally many ways whatever was drawn before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.game.bits import count_bits, lowest_bit, nth_bit
from engine.game.jit import Integer, kernel
from engine.game.rng import States, below, uniform
from engine.game.rules import CARDS, DECK, MAX_PLAYERS, RANKS, SUITS, Game, suit_mask

SIDE = RANKS + 1


class Belief(NamedTuple):
    """What `determinize` draws from, filled by `prepare`; one per group of lanes."""

    seats: NDArray[np.int64]
    """[MAX_PLAYERS] constrained seats, in the order they are dealt."""
    sizes: NDArray[np.int64]
    """[MAX_PLAYERS] cards each of them holds."""
    unseen: NDArray[np.int64]
    """[SUITS] unseen cards of each suit, bit masks."""
    constrained: NDArray[np.int64]
    """[1] how many seats are constrained."""
    ways: NDArray[np.float64]
    """[MAX_PLAYERS, SIDE, SIDE, SIDE] ways[k, r0, r1, r2]: deals to constrained seats k and
    later when r_s cards of suit s are left (r3 follows from the total)."""
    choose: NDArray[np.float64]
    """[SIDE, SIDE] binomial coefficients; 0 where more are chosen than there are."""
    left: NDArray[np.int64]
    """[SUITS] scratch: cards of each suit not dealt yet, their number or a bit mask."""
    taken: NDArray[np.int64]
    """[SUITS] scratch: the most cards of each suit that earlier seats can have."""
    cards: NDArray[np.int64]
    """[CARDS] scratch: cards left for seats without a known void."""


def new_belief() -> Belief:
    """An empty belief, to be filled by `prepare`."""
    choose = np.zeros((SIDE, SIDE))
    choose[:, 0] = 1
    for n in range(1, SIDE):
        choose[n, 1:] = choose[n - 1, 1:] + choose[n - 1, :-1]
    return Belief(
        seats=np.zeros(MAX_PLAYERS, np.int64),
        sizes=np.zeros(MAX_PLAYERS, np.int64),
        unseen=np.zeros(SUITS, np.int64),
        constrained=np.zeros(1, np.int64),
        ways=np.zeros((MAX_PLAYERS, SIDE, SIDE, SIDE)),
        choose=choose,
        left=np.zeros(SUITS, np.int64),
        taken=np.zeros(SUITS, np.int64),
        cards=np.zeros(CARDS, np.int64),
    )


@kernel
def most(size: int, left: int, void: int) -> int:
    """The most cards of a suit a seat can be dealt; `void` != 0: it holds none of it."""
    return 0 if void else min(size, left)


@kernel
def ways_for_seat(belief: Belief, game: Game, k: int, r0: int, r1: int, r2: int, r3: int) -> float:
    """Deals to constrained seats k and later, r_s cards of suit s being left."""
    size, void = belief.sizes[k], game.voids[belief.seats[k]]
    last = k == belief.constrained[0] - 1
    total = 0.0
    for n0 in range(most(size, r0, void & 1) + 1):
        for n1 in range(most(size - n0, r1, void & 2) + 1):
            for n2 in range(most(size - n0 - n1, r2, void & 4) + 1):
                n3 = size - n0 - n1 - n2
                if n3 > most(n3, r3, void & 8):
                    continue
                ways = (
                    belief.choose[r0, n0]
                    * belief.choose[r1, n1]
                    * belief.choose[r2, n2]
                    * belief.choose[r3, n3]
                )
                if not last:
                    ways *= belief.ways[k + 1, r0 - n0, r1 - n1, r2 - n2]
                total += ways
    return total


@kernel
def prepare(belief: Belief, game: Game) -> None:
    """Fill `belief` with what the mover of `game` knows."""
    mover = game.mover
    unseen = np.int64(DECK) & ~game.played & ~game.hands[mover]
    for suit in range(SUITS):
        belief.unseen[suit] = unseen & suit_mask(suit)
    count = 0
    for turn in range(1, game.players):
        seat = (mover + turn) % game.players
        if game.voids[seat] and game.hands[seat]:
            belief.seats[count] = seat
            belief.sizes[count] = count_bits(game.hands[seat])
            count += 1
    belief.constrained[0] = count
    # A single constrained seat needs no table: `choose` alone weights its splits.
    for k in range(count - 1, 0, -1):
        fill_ways(belief, game, k)


@kernel
def fill_ways(belief: Belief, game: Game, k: int) -> None:
    """Fill ways[k] for every remainder that the seats before k can leave."""
    dealt, left, taken = 0, belief.left, belief.taken
    taken[:] = 0
    for j in range(k):
        dealt += belief.sizes[j]
        for suit in range(SUITS):
            if not game.voids[belief.seats[j]] & (1 << suit):
                taken[suit] += belief.sizes[j]
    total = -dealt
    for suit in range(SUITS):
        left[suit] = count_bits(belief.unseen[suit])
        total += left[suit]
    for r0 in range(max(0, left[0] - taken[0]), left[0] + 1):
        for r1 in range(max(0, left[1] - taken[1]), left[1] + 1):
            for r2 in range(max(0, left[2] - taken[2]), left[2] + 1):
                r3 = total - r0 - r1 - r2
                if max(0, left[3] - taken[3]) <= r3 <= left[3]:
                    belief.ways[k, r0, r1, r2] = ways_for_seat(belief, game, k, r0, r1, r2, r3)


@kernel
def draw_cards(mask: Integer, n: int, states: States, i: int) -> Integer:
    """`n` cards out of `mask`, uniformly."""
    left, drawn = mask, np.int64(0)
    available = count_bits(mask)
    for k in range(n):
        bit = np.int64(1) << nth_bit(left, below(states, i, available - k))
        left &= ~bit
        drawn |= bit
    return drawn


@kernel
def deal_constrained(
    belief: Belief, deal: Game, k: int, left: NDArray[np.int64], states: States, i: int
) -> None:
    """Deal constrained seat k out of `left` [SUITS], drawing its split over the suits."""
    seat, size = belief.seats[k], belief.sizes[k]
    void = deal.voids[seat]
    last = k == belief.constrained[0] - 1
    r0, r1, r2, r3 = (
        count_bits(left[0]),
        count_bits(left[1]),
        count_bits(left[2]),
        count_bits(left[3]),
    )
    mark = uniform(states, i) * ways_for_seat(belief, deal, k, r0, r1, r2, r3)
    s0, s1, s2, s3 = 0, 0, 0, 0
    for n0 in range(most(size, r0, void & 1) + 1):
        for n1 in range(most(size - n0, r1, void & 2) + 1):
            for n2 in range(most(size - n0 - n1, r2, void & 4) + 1):
                n3 = size - n0 - n1 - n2
                if n3 > most(n3, r3, void & 8) or mark < 0.0:
                    continue
                ways = (
                    belief.choose[r0, n0]
                    * belief.choose[r1, n1]
                    * belief.choose[r2, n2]
                    * belief.choose[r3, n3]
                )
                if not last:
                    ways *= belief.ways[k + 1, r0 - n0, r1 - n1, r2 - n2]
                if ways > 0.0:
                    # The last possible split is used if rounding leaves `mark` at 0 or above.
                    s0, s1, s2, s3 = n0, n1, n2, n3
                    mark -= ways
    hand = (
        draw_cards(left[0], s0, states, i)
        | draw_cards(left[1], s1, states, i)
        | draw_cards(left[2], s2, states, i)
        | draw_cards(left[3], s3, states, i)
    )
    deal.hands[seat] = hand
    for suit in range(SUITS):
        left[suit] &= ~hand


@kernel
def determinize(belief: Belief, deal: Game, states: States, i: int) -> None:
    """Replace the hands the mover cannot see in `deal`, a copy of the game `prepare` was given.

    Draws from stream `i` of `states`. Always succeeds: the true deal is a consistent one.
    """
    left, cards = belief.left, belief.cards
    for suit in range(SUITS):
        left[suit] = belief.unseen[suit]
    for k in range(belief.constrained[0]):
        deal_constrained(belief, deal, k, left, states, i)
    rest = left[0] | left[1] | left[2] | left[3]
    n = 0
    while rest:
        cards[n] = lowest_bit(rest)
        rest &= rest - np.int64(1)
        n += 1
    used = 0
    for turn in range(1, deal.players):
        seat = (deal.mover + turn) % deal.players
        if deal.voids[seat]:
            continue
        size = count_bits(deal.hands[seat])
        hand = np.int64(0)
        for _ in range(size):
            j = used + below(states, i, n - used)
            cards[used], cards[j] = cards[j], cards[used]
            hand |= np.int64(1) << cards[used]
            used += 1
        deal.hands[seat] = hand
