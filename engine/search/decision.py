"""From the visits of a decision's trees to a move and a training example."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.game import rules
from engine.game.bits import count_bits, lowest_bit
from engine.game.encoding import relabel_action
from engine.game.jit import kernel
from engine.game.rng import States, uniform
from engine.game.rules import BID, is_bidding, legal_mask
from engine.search.lanes import OPENING, Group, SearchConfig


@kernel
def sum_visits(group: Group, config: SearchConfig, lane: int, visits: NDArray[np.float32]) -> float:
    """Write each root move's visits over all trees into `visits` [moves]; returns their sum."""
    trees, total = group.trees, 0.0
    first = lane * config.determinizations
    for k in range(trees.nodes[first, 0].num_edges):
        visits[k] = 0.0
        for d in range(config.determinizations):
            t = first + d
            visits[k] += trees.edges[t, trees.nodes[t, 0].first_edge + k].visits
        total += visits[k]
    return total


@kernel
def choose(
    weights: NDArray[np.float32], n: int, temperature: float, streams: States, i: int
) -> int:
    """Draw an index below n with probability ∝ weight^(1/temperature), from stream `i`.

    `weights` [moves] are at least 0; at temperature 0 the first of the largest is returned.
    """
    best = 0
    for k in range(n):
        if weights[k] > weights[best]:
            best = k
    if temperature == 0.0:
        return best
    total = 0.0
    for k in range(n):
        total += (weights[k] / weights[best]) ** (1.0 / temperature)
    mark = uniform(streams, i) * total
    for k in range(n):
        mark -= (weights[k] / weights[best]) ** (1.0 / temperature)
        if mark < 0.0:
            return k
    return best


@kernel
def decide(group: Group, config: SearchConfig, lane: int) -> None:
    """Record the visits of a lane's finished trees as an example's policy, and play a move."""
    lanes, tally = group.lanes, group.tally[0]
    game = lanes.games[lane]
    visits = lanes.priors[lane]
    total = sum_visits(group, config, lane, visits)
    legal = legal_mask(game)
    moves = count_bits(legal)
    bidding = is_bidding(game)
    own_move = 0 if bidding else 1 + game.tricks_done
    picked = choose(visits, moves, group.temperatures[own_move], lanes.streams, lane)
    policy = lanes.policy[lane, lanes.lane[lane].examples]
    policy[:] = 0.0
    kl, move = 0.0, 0
    for k in range(moves):
        candidate = lowest_bit(legal)
        legal &= legal - np.int64(1)
        share = visits[k] / total
        policy[relabel_action(candidate + (BID if bidding else 0), game.trump)] = share
        if share > 0.0:
            kl += share * np.log(share * moves)
        if k == picked:
            move = candidate
    tally.decisions += 1
    tally.kl += kl
    lanes.lane[lane].decisions += 1
    lanes.lane[lane].examples += lanes.lane[lane].in_full
    rules.play_move(game, move)
    lanes.lane[lane].stage = OPENING
