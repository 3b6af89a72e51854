"""Positions from the plain reference to the engine's records, and back."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from reference_rules import Game, deal, suit_of

from engine.game.rules import GAME, RANKS


def mask_of(cards: set[int] | list[int]) -> int:
    return sum(1 << card for card in cards)


def cards_of(mask: int) -> list[int]:
    return [card for card in range(52) if mask >> card & 1]


def to_record(game: Game) -> NDArray[np.void]:
    """[1] of dtype GAME: the same position."""
    records = np.zeros(1, GAME)
    record = records[0]
    record["table"] = -1
    record["bids"] = -1
    for seat in range(game.players):
        record["hands"][seat] = mask_of(game.hands[seat])
        bid = game.bids[seat]
        record["bids"][seat] = -1 if bid is None else bid
        record["tricks"][seat] = game.tricks_won[seat]
        record["voids"][seat] = sum(1 << suit for suit in game.voids[seat])
    for seat, card in game.trick:
        record["table"][seat] = card
    winning = game.winning()
    record["played"] = mask_of([card for _, card in game.played])
    record["players"], record["cards"] = game.players, game.cards
    record["trump"], record["dealer"] = game.trump, game.dealer
    record["mover"], record["leader"] = game.mover, game.leader
    record["winner"] = -1 if winning is None else winning[0]
    record["bids_made"] = sum(bid is not None for bid in game.bids)
    record["tricks_done"] = sum(game.tricks_won)
    record["on_table"] = len(game.trick)
    return records


def to_reference(record: np.void) -> Game:
    """The same position; who played the cards of finished tricks is not kept (seat -1)."""
    players = int(record["players"])
    game = Game.__new__(Game)
    game.hands = [set(cards_of(int(record["hands"][seat]))) for seat in range(players)]
    game.dealer, game.trump = int(record["dealer"]), int(record["trump"])
    game.players, game.cards = players, int(record["cards"])
    game.bids = [None if bid < 0 else int(bid) for bid in record["bids"][:players]]
    game.tricks_won = [int(won) for won in record["tricks"][:players]]
    game.leader = int(record["leader"])
    order = [(game.leader + turn) % players for turn in range(int(record["on_table"]))]
    game.trick = [(seat, int(record["table"][seat])) for seat in order]
    on_table = {card for _, card in game.trick}
    gone = [card for card in cards_of(int(record["played"])) if card not in on_table]
    game.played = [(-1, card) for card in gone] + game.trick
    game.voids = [
        {suit for suit in range(4) if int(record["voids"][seat]) >> suit & 1}
        for seat in range(players)
    ]
    return game


def random_position(
    seed: int, players: int | None = None, cards: int | None = None, moves: int | None = None
) -> Game:
    """A seeded position reached by random play; with a move to make."""
    rng = random.Random(seed)
    players = players or rng.randint(3, 8)
    cards = cards or rng.randint(1, min(RANKS, 52 // players))
    game = deal(players, cards, rng.randrange(players), rng.randrange(5), rng)
    last = players * (cards + 1) - 1
    for _ in range(rng.randint(0, last) if moves is None else min(moves, last)):
        game.apply(rng.choice(game.legal_actions()))
    return game


def random_decision(seed: int, players: int | None = None, cards: int | None = None) -> Game:
    """A seeded position in which the mover has a choice."""
    for attempt in range(1000):
        game = random_position(seed + 7919 * attempt, players, cards)
        if len(game.legal_actions()) > 1:
            return game
    raise AssertionError("no decision found")


def void_position(seed: int, players: int, cards: int) -> Game:
    """A seeded position in which somebody but the mover is known void of something."""
    for attempt in range(1000):
        game = random_position(seed + 7919 * attempt, players, cards)
        if any(
            game.voids[seat] and game.hands[seat] for seat in range(players) if seat != game.mover
        ):
            return game
    raise AssertionError("no void found")


__all__ = ["Game", "cards_of", "mask_of", "suit_of", "to_record", "to_reference"]
