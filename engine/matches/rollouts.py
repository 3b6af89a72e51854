"""Determinized search without a network: uniform priors, and rollouts for values.

A leaf's value is the score when every seat goes on by the rules of thumb, which are deterministic.
This is the engine's search with its network removed: a baseline that a trained network must beat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.game.belief import determinize, prepare
from engine.game.bits import count_bits
from engine.game.jit import kernel
from engine.game.rules import Game, Games, legal_mask
from engine.matches.rule_player import play_by_rules
from engine.search.decision import choose, sum_visits
from engine.search.lanes import Group, SearchConfig
from engine.search.trees import NONE, Trees, back_up, expand, final_values, next_leaf, reset

C_PUCT = 1.0
"""Larger than with a network, as equal priors are small; 0.25 to 4 differ by 0.2 points a deal."""


@kernel
def play_out(game: Game, end: Games, values: NDArray[np.float64]) -> None:
    """Write the values of a rollout from `game`, by absolute seat, into `values` [MAX_PLAYERS].

    `end` [1] is scratch.
    """
    end[0] = game
    play_by_rules(end[0])
    final_values(end[0], values)


@kernel
def expand_evenly(
    trees: Trees,
    t: int,
    n: int,
    priors: NDArray[np.float32],
    end: Games,
    values: NDArray[np.float64],
) -> None:
    """Write a rollout from node `n` into `values` and give the node edges of equal priors.

    `priors` [moves] and `end` [1] are scratch.
    """
    game = trees.games[t, n]
    play_out(game, end, values)
    legal = legal_mask(game)
    moves = count_bits(legal)
    priors[:moves] = 1.0 / moves
    expand(trees, t, n, legal, game.mover, priors, values[game.mover])


@kernel
def rollout_move(group: Group, config: SearchConfig, lane: int, end: Games) -> int:
    """Index of the most visited move of a lane's decision, whose stream must be set.

    Searches to the end, in the group's first trees; `end` [1] is scratch.
    """
    lanes, trees, values = group.lanes, group.trees, group.values
    priors = lanes.priors[lane]
    prepare(group.belief, lanes.games[lane])
    for t in range(config.determinizations):
        reset(trees, t)
        trees.games[t, 0] = lanes.games[lane]
        determinize(group.belief, trees.games[t, 0], lanes.streams, lane)
        expand_evenly(trees, t, 0, priors, end, values)
        node = 0
        while node != NONE:
            node = next_leaf(trees, t, config.simulations, C_PUCT, values)[0]
            if node != NONE:
                expand_evenly(trees, t, node, priors, end, values)
                back_up(trees, t, node, values)
    sum_visits(group, config, 0, priors)
    moves = count_bits(legal_mask(lanes.games[lane]))
    return choose(priors, moves, 0.0, lanes.streams, lane)
