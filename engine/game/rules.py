"""The rules of Blob (Oh Hell) on int64 bit masks: one deal, from the bids to the scores.

A card is `suit * 13 + rank`, rank 0 the two, 12 the ace. Actions 0..51 play that card, 52 + b
bids b. Seats are numbered in turn order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.game.bits import count_bits, lowest_bit, nth_bit
from engine.game.jit import Integer, kernel
from engine.game.rng import States, below

CARDS = 52
RANKS = 13
SUITS = 4
NO_TRUMP = 4
MIN_PLAYERS = 3
MAX_PLAYERS = 8
BID = 52
"""Action `BID + b` bids b."""
MAX_BIDS = 14
ACTIONS = CARDS + MAX_BIDS
DECK = (1 << CARDS) - 1
SUIT = (1 << RANKS) - 1
"""The cards of suit 0; `SUIT << 13 * s` those of suit s."""

GAME = np.dtype(
    [
        ("hands", np.int64, MAX_PLAYERS),  # cards held, a bit mask a seat
        ("played", np.int64),  # cards played so far, those on the table too
        ("bids", np.int8, MAX_PLAYERS),  # -1: not yet
        ("tricks", np.int8, MAX_PLAYERS),  # tricks won
        ("voids", np.int8, MAX_PLAYERS),  # bit s: known to hold none of suit s
        ("table", np.int8, MAX_PLAYERS),  # card each seat has on the table, -1: none
        ("players", np.int8),
        ("cards", np.int8),  # cards dealt to each seat
        ("trump", np.int8),  # suit, or NO_TRUMP
        ("dealer", np.int8),
        ("mover", np.int8),
        ("leader", np.int8),  # of the trick on the table
        ("winner", np.int8),  # seat now winning the trick, -1: table empty
        ("bids_made", np.int8),
        ("tricks_done", np.int8),
        ("on_table", np.int8),
    ],
    align=True,
)
"""One game: two cache lines, copied as a whole when a tree grows a node."""

Games = NDArray[np.void]
Game = Any
"""One record of dtype GAME, changed in place; numba gives it attributes, numpy has none."""


def check_setting(players: int, cards: int) -> None:
    """Raise ValueError unless `players` (3..8) can be dealt `cards` (1..min(13, 52 // players))."""
    if not MIN_PLAYERS <= players <= MAX_PLAYERS:
        raise ValueError(f"players must be {MIN_PLAYERS} to {MAX_PLAYERS}, not {players}")
    most = min(RANKS, CARDS // players)
    if not 1 <= cards <= most:
        raise ValueError(f"cards must be 1 to {most} with {players} players, not {cards}")


@kernel
def start(game: Game, players: int, cards: int, trump: int, dealer: int) -> None:
    """Set `game` to the moment before the first bid; the hands stay unchanged."""
    game.played = 0
    for seat in range(MAX_PLAYERS):
        game.bids[seat] = -1
        game.tricks[seat] = 0
        game.voids[seat] = 0
        game.table[seat] = -1
    game.players = players
    game.cards = cards
    game.trump = trump
    game.dealer = dealer
    game.leader = (dealer + 1) % players
    game.mover = game.leader
    game.winner = -1
    game.bids_made = 0
    game.tricks_done = 0
    game.on_table = 0


@kernel
def deal(game: Game, players: int, cards: int, states: States, i: int) -> None:
    """Deal a new game: hands, trump (four suits or none, uniformly) and dealer from stream `i`."""
    for seat in range(MAX_PLAYERS):
        game.hands[seat] = 0
    deck = np.int64(DECK)
    for k in range(players * cards):
        bit = np.int64(1) << nth_bit(deck, below(states, i, CARDS - k))
        deck &= ~bit
        game.hands[k // cards] |= bit
    trump = below(states, i, SUITS + 1)
    start(game, players, cards, trump, below(states, i, players))


@kernel
def is_bidding(game: Game) -> bool:
    """Whether bids are still to be made."""
    return game.bids_made < game.players


@kernel
def is_over(game: Game) -> bool:
    """Whether all tricks were played."""
    return game.tricks_done == game.cards


@kernel
def suit_mask(suit: int) -> Integer:
    """All cards of one suit."""
    return np.int64(SUIT) << np.int64(RANKS * suit)


@kernel
def legal_mask(game: Game) -> Integer:
    """Legal moves of the mover: bit b for bid b while bidding, else bit c for card c."""
    if is_bidding(game):
        mask = (np.int64(1) << np.int64(game.cards + 1)) - np.int64(1)
        if game.bids_made == game.players - 1:
            total = 0
            for seat in range(game.players):
                total += max(game.bids[seat], 0)
            if total <= game.cards:
                mask &= ~(np.int64(1) << np.int64(game.cards - total))
        return mask
    hand = game.hands[game.mover]
    if game.on_table:
        led = hand & suit_mask(game.table[game.leader] // RANKS)
        if led:
            return led
    return hand


@kernel
def beats(card: int, best: int, trump: int) -> bool:
    """Whether `card`, played after `best`, now wins the trick."""
    if card // RANKS == best // RANKS:
        return card > best
    return card // RANKS == trump


@kernel
def play_move(game: Game, move: int) -> None:
    """Make a legal move, a bit position of `legal_mask`: a bid while bidding, else a card."""
    seat = game.mover
    game.mover = (seat + 1) % game.players
    if is_bidding(game):
        game.bids[seat] = move
        game.bids_made += 1
        return
    bit = np.int64(1) << move
    game.hands[seat] &= ~bit
    game.played |= bit
    if game.on_table == 0:
        game.winner = seat
    else:
        led = game.table[game.leader] // RANKS
        if move // RANKS != led:
            game.voids[seat] |= 1 << led
        if beats(move, game.table[game.winner], game.trump):
            game.winner = seat
    game.table[seat] = move
    game.on_table += 1
    if game.on_table == game.players:
        finish_trick(game)


@kernel
def finish_trick(game: Game) -> None:
    """Give the trick to its winner, who leads the next."""
    game.tricks[game.winner] += 1
    game.tricks_done += 1
    game.leader = game.winner
    game.mover = game.winner
    game.winner = -1
    game.on_table = 0
    for seat in range(game.players):
        game.table[seat] = -1


@kernel
def play_forced(game: Game) -> None:
    """Make every move that has no alternative, up to a decision or the end."""
    while not is_over(game):
        legal = legal_mask(game)
        if count_bits(legal) > 1:
            return
        play_move(game, lowest_bit(legal))


@kernel
def play_random(game: Game, moves: int, states: States, i: int) -> None:
    """Make `moves` legal moves, drawn uniformly from stream `i`; fewer if the game ends."""
    for _ in range(moves):
        if is_over(game):
            return
        legal = legal_mask(game)
        play_move(game, nth_bit(legal, below(states, i, count_bits(legal))))


@kernel
def value(game: Game, seat: int) -> float:
    """Final score of a seat, 10 + bid if it won exactly its bid, else 0; ÷ (10 + cards dealt)."""
    if game.bids[seat] != game.tricks[seat]:
        return 0.0
    return (10 + game.bids[seat]) / (10 + game.cards)
