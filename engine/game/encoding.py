"""What the mover sees, as 256 floats, and its legal ones among the 66 actions.

Seats come in turn order from the mover, and suits are relabelled so that trump comes first, the
others following in their order: positions that differ only in names look the same to the network.

| floats | meaning |
|---|---|
| 0..51 | the mover's hand |
| 52..103 | cards played in finished tricks |
| 104..155 | cards on the table |
| 156..243 | 11 a seat: plays at all, has bid, bid ÷ cards, tricks won ÷ cards, (bid - tricks) ÷ cards, is winning the trick, is dealer, known void of each suit |
| 244..247 | bidding, there is a trump, cards dealt ÷ 13, tricks left ÷ cards |
| 248, 249 | (sum of the bids - cards) ÷ cards, players ÷ 8 |
| 250..253 | the suit led |
| 254, 255 | rank of the card now winning, (rank + 1) ÷ 13; whether it is a trump |
"""  # noqa: E501

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.game.bits import lowest_bit
from engine.game.jit import Integer, kernel
from engine.game.rules import (
    ACTIONS,
    BID,
    CARDS,
    GAME,
    MAX_PLAYERS,
    NO_TRUMP,
    RANKS,
    SUITS,
    Game,
    Games,
    is_bidding,
    legal_mask,
)

STATE_DIM = 256
HAND, GONE, TABLE, SEATS = 0, 52, 104, 156
SEAT_FLOATS = 11
GLOBALS = SEATS + MAX_PLAYERS * SEAT_FLOATS


@kernel
def relabel_suit(suit: int, trump: int) -> int:
    """Trump becomes suit 0, suits below it move up by one; without a trump nothing changes."""
    if trump == NO_TRUMP or suit > trump:
        return suit
    return 0 if suit == trump else suit + 1


@kernel
def relabel_action(action: int, trump: int) -> int:
    """The action with its suit relabelled; bids stay."""
    if action >= BID:
        return action
    return relabel_suit(action // RANKS, trump) * RANKS + action % RANKS


@kernel
def write_cards(out: NDArray[np.float32], offset: int, cards: Integer, trump: int) -> None:
    """Set the floats of `cards`, a bit mask, in the 52 from `offset` on."""
    while cards:
        out[offset + relabel_action(lowest_bit(cards), trump)] = 1.0
        cards &= cards - np.int64(1)


@kernel
def encode(game: Game, out: NDArray[np.float32]) -> None:
    """Write what the mover of `game` sees into `out` [STATE_DIM] float32."""
    out[:] = 0.0
    mover, players, dealt = game.mover, game.players, np.float32(game.cards)
    on_table = np.int64(0)
    bids = 0
    for turn in range(players):
        seat = (mover + turn) % players
        base = SEATS + turn * SEAT_FLOATS
        out[base] = 1.0
        if game.bids[seat] >= 0:
            bids += game.bids[seat]
            out[base + 1] = 1.0
            out[base + 2] = game.bids[seat] / dealt
            out[base + 4] = (game.bids[seat] - game.tricks[seat]) / dealt
        out[base + 3] = game.tricks[seat] / dealt
        out[base + 5] = 1.0 if seat == game.winner else 0.0
        out[base + 6] = 1.0 if seat == game.dealer else 0.0
        for suit in range(SUITS):
            if game.voids[seat] & (1 << suit):
                out[base + 7 + relabel_suit(suit, game.trump)] = 1.0
        if game.table[seat] >= 0:
            on_table |= np.int64(1) << game.table[seat]
    write_cards(out, HAND, game.hands[mover], game.trump)
    write_cards(out, GONE, game.played & ~on_table, game.trump)
    write_cards(out, TABLE, on_table, game.trump)
    out[GLOBALS] = 1.0 if is_bidding(game) else 0.0
    out[GLOBALS + 1] = 1.0 if game.trump != NO_TRUMP else 0.0
    out[GLOBALS + 2] = dealt / 13
    out[GLOBALS + 3] = (game.cards - game.tricks_done) / dealt
    out[GLOBALS + 4] = (bids - game.cards) / dealt
    out[GLOBALS + 5] = players / 8
    if game.winner >= 0:
        led = game.table[game.leader] // RANKS
        best = game.table[game.winner]
        out[GLOBALS + 6 + relabel_suit(led, game.trump)] = 1.0
        out[GLOBALS + 10] = (best % RANKS + 1) / 13
        out[GLOBALS + 11] = 1.0 if best // RANKS == game.trump else 0.0


@kernel
def mask_actions(game: Game, out: NDArray[np.bool_]) -> None:
    """Write the mover's legal actions, suits relabelled, into `out` [ACTIONS]."""
    out[:] = False
    legal = legal_mask(game)
    base = BID if is_bidding(game) else 0
    while legal:
        out[relabel_action(base + lowest_bit(legal), game.trump)] = True
        legal &= legal - np.int64(1)


@kernel
def _encode_rows(games: Games, out: NDArray[np.float32]) -> None:
    for i in range(len(games)):
        encode(games[i], out[i])


@kernel
def _mask_rows(games: Games, out: NDArray[np.bool_]) -> None:
    for i in range(len(games)):
        mask_actions(games[i], out[i])


def _rows(games: Games) -> Games:
    if games.dtype != GAME:
        raise TypeError(f"games must have dtype engine.game.rules.GAME, not {games.dtype}")
    return np.atleast_1d(games)


class StateEncoder:
    """Encodes positions as network inputs; see the table above."""

    state_dim = STATE_DIM

    def encode(self, games: Games) -> NDArray[np.float32]:
        """[B, STATE_DIM] float32 of what each mover sees; `games` is [B] of dtype GAME.

        Raises TypeError for another dtype.
        """
        out = np.zeros((len(_rows(games)), STATE_DIM), np.float32)
        _encode_rows(_rows(games), out)
        return out


class ActionMasker:
    """Masks the legal actions: 52 cards (suits as encoded), then 14 bids."""

    num_actions = ACTIONS

    def mask(self, games: Games) -> NDArray[np.bool_]:
        """[B, ACTIONS] bool, the legal actions of each mover; `games` is [B] of dtype GAME.

        Raises TypeError for another dtype.
        """
        out = np.zeros((len(_rows(games)), ACTIONS), np.bool_)
        _mask_rows(_rows(games), out)
        return out


__all__ = ["CARDS", "STATE_DIM", "ActionMasker", "StateEncoder", "encode", "mask_actions"]
