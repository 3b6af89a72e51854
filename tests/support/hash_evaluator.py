"""A stand-in for a network with exact answers, so that two searches can be compared bit by bit.

All arithmetic is on unsigned 64-bit integers that wrap around. ``mix`` is the finaliser of
splitmix64::

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    z =  z ^ (z >> 31)

A key ``x0, x1, ...`` of integers is hashed from left to right, negative integers in two's
complement::

    h = 0x9E3779B97F4A7C15            (not 0, since mix(0) = 0)
    h = mix(h ^ x)                    for each x of the key

The evaluation is read off the hash with logical shifts::

    prior of action a         = (1 + (mix(h + a + 1) >> 33) % 255) / 256      in 1/256 .. 255/256
    value of relative seat k  = ((mix(h + 1000 + k) >> 33) % 257) / 256       in 0 .. 1

Seat ``k = 0`` is the mover, ``k = 1`` the seat after it, and so on. Every number is a multiple of
1/256, so sums of them are exact in any order. The priors are not normalised: the search uses them
as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reference_rules import Game

MASK = (1 << 64) - 1
START = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """The splitmix64 finaliser of ``z`` modulo 2**64."""
    z &= MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def hash_key(key: Iterable[int]) -> int:
    """The hash of a sequence of integers, in which their order matters."""
    h = START
    for x in key:
        h = mix(h ^ (x & MASK))
    return h


def evaluate_key(
    key: Iterable[int], legal_actions: Sequence[int], players: int
) -> tuple[list[float], list[float]]:
    """Priors, one per legal action, and values, one per seat counted from the mover."""
    h = hash_key(key)
    priors = [(1 + (mix(h + action + 1) >> 33) % 255) / 256 for action in legal_actions]
    values = [((mix(h + 1000 + k) >> 33) % 257) / 256 for k in range(players)]
    return priors, values


def visible_key(game: Game) -> tuple[int, ...]:
    """What the mover may know, in this order:

    players, cards dealt, trump, dealer, mover; by absolute seat the bids plus one (0: none yet);
    by absolute seat the tricks won; the number of cards in the unfinished trick, then these cards
    in the order played; the size of the mover's hand, then its cards ascending; the number of
    cards played in the whole game (the unfinished trick included), then these cards ascending.
    """
    trick = [card for _, card in game.trick]
    hand = sorted(game.hands[game.mover])
    played = sorted(card for _, card in game.played)
    return (
        game.players,
        game.cards,
        game.trump,
        game.dealer,
        game.mover,
        *(0 if bid is None else bid + 1 for bid in game.bids),
        *game.tricks_won,
        len(trick),
        *trick,
        len(hand),
        *hand,
        len(played),
        *played,
    )


def evaluate_game(game: Game) -> tuple[list[float], list[float]]:
    """The evaluation of what the mover of ``game`` may know."""
    return evaluate_key(visible_key(game), game.legal_actions(), game.players)
