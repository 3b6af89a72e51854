"""The players of an evaluation, each as the data that chooses its moves."""

from __future__ import annotations

from typing import NamedTuple

from engine.network.blobnet import InferenceNet

RANDOM, RULES, ROLLOUTS, NETWORK = range(4)
"""Kinds: a random move; rules of thumb; a search with rollouts; a network, searched or not."""


class Player(NamedTuple):
    """Plays without noise, and of all moves the one visited most."""

    kind: int
    network: InferenceNet | None = None
    determinizations: int = 0
    """Trees of a decision; 0 with a network: its raw policy, without a search."""
    simulations: int = 0
    """Simulations of each tree."""


def random_player() -> Player:
    """Every legal move is equally likely."""
    return Player(RANDOM)


def rule_player() -> Player:
    """Rules of thumb; see `engine.matches.rule_player`."""
    return Player(RULES)


def rollout_player(determinizations: int = 3, simulations: int = 30) -> Player:
    """A search without a network; see `engine.matches.rollouts`."""
    return Player(ROLLOUTS, None, determinizations, simulations)


def raw_player(network: InferenceNet) -> Player:
    """The most probable move of the network's policy."""
    return Player(NETWORK, network)


def search_player(
    network: InferenceNet, determinizations: int = 3, simulations: int = 30
) -> Player:
    """The search of self-play, without noise and at temperature 0."""
    return Player(NETWORK, network, determinizations, simulations)
