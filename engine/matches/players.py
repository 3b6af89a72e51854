"""Who can sit at a table in an evaluation, each as the data that its moves are chosen with."""

from __future__ import annotations

from typing import NamedTuple

from engine.network.blobnet import InferenceNet

RANDOM, RULES, ROLLOUTS, NETWORK = range(4)
"""How a player chooses: any legal move; by rules of thumb; by search without or with a network."""


class Player(NamedTuple):
    """Deterministic but for its draws: no noise, and of all moves the one visited most."""

    kind: int
    network: InferenceNet | None = None
    determinizations: int = 0
    """0 with a network: its raw policy, without a search."""
    simulations: int = 0
    """Of each determinization."""


def random_player() -> Player:
    """Every legal move is equally likely."""
    return Player(RANDOM)


def rule_player() -> Player:
    """See `engine.rule_player`."""
    return Player(RULES)


def rollout_player(determinizations: int = 3, simulations: int = 30) -> Player:
    """See `engine.rollouts`."""
    return Player(ROLLOUTS, None, determinizations, simulations)


def raw_player(network: InferenceNet) -> Player:
    """The move that the network's policy likes best."""
    return Player(NETWORK, network)


def search_player(
    network: InferenceNet, determinizations: int = 3, simulations: int = 30
) -> Player:
    """The engine's search, as in self-play but for noise and temperature."""
    return Player(NETWORK, network, determinizations, simulations)
