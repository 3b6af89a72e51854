"""Determinized search without a network: uniform priors, and leaves worth how they play out.

From a leaf every seat goes on by the rules of thumb, once; they are deterministic, and so is the
leaf's worth in its determinization. What is left of the engine's search when its network is taken
away: what it must beat to have learned anything.
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
"""Priors that are all equal are a small share each; .25 to 4 differ by 0.2 points a deal."""


@kernel
def play_out(game: Game, end: Games, values: NDArray[np.float64]) -> None:
    """The values, by absolute seat, that `game` comes to; `end` [1] is scratch."""
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
    """Play node `n` out into `values` and give it edges of equal priors; the rest is scratch."""
    game = trees.games[t, n]
    play_out(game, end, values)
    legal = legal_mask(game)
    moves = count_bits(legal)
    priors[:moves] = 1.0 / moves
    expand(trees, t, n, legal, game.mover, priors, values[game.mover])


@kernel
def rollout_move(group: Group, config: SearchConfig, lane: int, end: Games) -> int:
    """The index of the most visited move of a lane's decision, whose stream is set.

    Searches at once, in the group's first trees; `end` [1] is scratch.
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
