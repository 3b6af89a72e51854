"""The second half of a lockstep step: take the network's answers into roots and leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.game.belief import determinize, prepare
from engine.game.bits import count_bits, lowest_bit
from engine.game.encoding import relabel_action
from engine.game.jit import inlined, kernel
from engine.game.rng import States, gamma, seed_stream, uniform
from engine.game.rules import ACTIONS, BID
from engine.search.lanes import SEARCHING, Group, SearchConfig
from engine.search.trees import NONE, back_up, expand, reset, seat_values


@kernel
def softmax(answer: NDArray[np.float32], row: Any, priors: NDArray[np.float32]) -> int:
    """Write the probabilities of the row's legal moves into `priors` [moves]; returns their number.

    `answer` [ANSWERS] is the network's; moves are in the order of their bits in `legal_mask`.
    """
    legal = row.legal
    n = count_bits(legal)
    base = BID if row.bidding else 0
    highest = np.float32(-np.inf)
    for k in range(n):
        logit = answer[relabel_action(base + lowest_bit(legal), row.trump)]
        legal &= legal - np.int64(1)
        priors[k] = logit
        highest = max(highest, logit)
    total = 0.0
    for k in range(n):
        priors[k] = np.exp(priors[k] - highest)
        total += priors[k]
    for k in range(n):
        priors[k] /= total
    return n


@kernel
def mix_noise(
    priors: NDArray[np.float32],
    n: int,
    noise: NDArray[np.float64],
    config: SearchConfig,
    streams: States,
    i: int,
) -> None:
    """Mix Dirichlet(alpha) noise from stream `i` into the first n of `priors` [moves].

    One draw serves all trees of a decision. `noise` [moves] is scratch.
    """
    if config.noise_share == 0.0:
        return
    total = 0.0
    for k in range(n):
        noise[k] = gamma(streams, i, config.noise_alpha)
        total += noise[k]
    if total <= 0.0:
        return
    for k in range(n):
        priors[k] += config.noise_share * (noise[k] / total - priors[k])


@kernel
def plant_trees(group: Group, config: SearchConfig, row: Any, own_value: float) -> None:
    """Start a lane's trees: a determinization each, all with the same root evaluation."""
    lanes, trees, lane = group.lanes, group.trees, row.lane
    prepare(group.belief, lanes.games[lane])
    for d in range(config.determinizations):
        t = lane * config.determinizations + d
        reset(trees, t)
        trees.games[t, 0] = lanes.games[lane]
        determinize(group.belief, trees.games[t, 0], lanes.streams, lane)
        expand(trees, t, 0, row.legal, row.mover, lanes.priors[lane], own_value)
    lanes.lane[lane].stage = SEARCHING


@kernel
def scatter_root(group: Group, config: SearchConfig, r: int) -> None:
    """Take the network's answer for a lane's root (row `r`) and start its trees."""
    lanes, batch, tally = group.lanes, group.batch, group.tally[0]
    row = batch.rows[r]
    lane = row.lane
    tally.evaluations += 1
    tally.distinct += 1
    lanes.lane[lane].evaluations += 1
    decision = 1 + lanes.lane[lane].decisions
    seed_stream(lanes.streams, lane, config.seed, lanes.lane[lane].game_id, decision)
    n = softmax(batch.answers[r], row, lanes.priors[lane])
    in_full = config.full_share == 1.0 or uniform(lanes.streams, lane) < config.full_share
    lanes.lane[lane].in_full = in_full
    lanes.lane[lane].simulations = config.simulations if in_full else config.fast_simulations
    if in_full:
        mix_noise(lanes.priors[lane], n, group.noise, config, lanes.streams, lane)
    plant_trees(group, config, row, batch.answers[r, ACTIONS])


@inlined
def scatter_leaf(group: Group, config: SearchConfig, r: int) -> None:
    """Take the network's answer for a leaf (row `r`): expand it and back it up."""
    lanes, trees, batch, tally = group.lanes, group.trees, group.batch, group.tally[0]
    row = batch.rows[r]
    lane, t, n = row.lane, row.tree, row.node
    tally.evaluations += 1
    tally.simulations += 1
    tally.distinct += not trees.nodes[t, n].evaluated
    lanes.lane[lane].evaluations += 1
    softmax(batch.answers[r], row, lanes.priors[lane])
    seat_values(row.mover, config.players, batch.answers[r, ACTIONS:], group.values)
    expand(trees, t, n, row.legal, row.mover, lanes.priors[lane], batch.answers[r, ACTIONS])
    back_up(trees, t, n, group.values)


@kernel
def scatter(group: Group, config: SearchConfig, rows: int) -> None:
    """Take the network's answers for rows 0..rows-1 of `group.batch`."""
    for r in range(rows):
        if group.batch.rows[r].tree == NONE:
            scatter_root(group, config, r)
        else:
            scatter_leaf(group, config, r)
