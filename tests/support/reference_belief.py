"""Every deal that a player must hold possible, by brute force; and how many, by recursion.

A deal is *consistent* for an observer if every other seat receives as many cards as it holds, all
from the cards that the observer has not seen, and none of a suit that the seat is known to lack.
Unseen cards that nobody receives stay in the stub.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import combinations

from reference_rules import DECK, Game, suit_of

Hands = tuple[frozenset[int], ...]


def unseen_cards(game: Game, observer: int) -> set[int]:
    """The cards of the full deck that are neither in the observer's hand nor played."""
    return set(range(DECK)) - game.hands[observer] - {card for _, card in game.played}


def may_hold(game: Game, seat: int, card: int) -> bool:
    """Whether ``seat`` is not known to lack the suit of ``card``."""
    return suit_of(card) not in game.voids[seat]


def consistent_deals(
    game: Game, observer: int, unseen: Iterable[int] | None = None
) -> Iterator[Hands]:
    """Yield each consistent deal once, as the hands of all seats, the observer's own included.

    ``unseen`` replaces the full deck's unseen cards, so that a test may use a smaller deck.
    """
    cards = unseen_cards(game, observer) if unseen is None else set(unseen)

    def deal_from(seat: int, left: set[int]) -> Iterator[Hands]:
        """The hands of ``seat`` and of the seats after it, dealt from the cards ``left``."""
        if seat == game.players:
            yield ()
            return
        if seat == observer:
            choices: Iterable[Iterable[int]] = [game.hands[observer]]
        else:
            possible = sorted(card for card in left if may_hold(game, seat, card))
            choices = combinations(possible, len(game.hands[seat]))
        for hand in map(frozenset, choices):
            for later_hands in deal_from(seat + 1, left - hand):
                yield (hand, *later_hands)

    return deal_from(0, cards)


def count_consistent_deals(game: Game, observer: int, unseen: Iterable[int] | None = None) -> int:
    """The number of consistent deals, found card by card: to the stub, or to a seat in need."""
    cards = sorted(unseen_cards(game, observer) if unseen is None else set(unseen))
    others = [seat for seat in range(game.players) if seat != observer]

    @cache
    def count(dealt: int, needs: tuple[int, ...]) -> int:
        """Ways to go on after ``dealt`` cards, when ``others`` need that many cards more."""
        if dealt == len(cards):
            return int(not any(needs))
        ways = count(dealt + 1, needs)
        for i, seat in enumerate(others):
            if needs[i] and may_hold(game, seat, cards[dealt]):
                ways += count(dealt + 1, (*needs[:i], needs[i] - 1, *needs[i + 1 :]))
        return ways

    return count(0, tuple(len(game.hands[seat]) for seat in others))
