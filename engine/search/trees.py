"""PUCT over many trees in lockstep, one leaf per tree and step, with a value per player.

A node is a decision: moves without an alternative are made on the way to it. Each simulation
descends to an unevaluated node or to the end of the game. An end is backed up at once, so a tree
only stops for the network. Every edge sums the values of the player who chooses it.

Selection (Silver et al. 2017) maximises Q + c_puct · P · sqrt(1 + Σ n) / (1 + n), all in float64;
an edge not yet visited has the node's own evaluation for Q. The first of equals wins.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.game.bits import count_bits, lowest_bit
from engine.game.jit import Integer, inlined, kernel
from engine.game.rules import (
    GAME,
    MAX_PLAYERS,
    Game,
    Games,
    is_over,
    play_forced,
    play_move,
    value,
)

NONE = -1
"""No edge, no node."""


MAX_SIMULATIONS = 32_000
"""Nodes have 16-bit numbers: an edge then has 24 bytes, and most of the search reads edges."""

NODE = np.dtype(
    [
        ("own_value", np.float64),  # the network's value for the node's mover, in [0, 1]
        ("total", np.int32),  # visits of all the node's edges
        ("first_edge", np.int32),  # a node's edges lie side by side
        ("num_edges", np.int32),
        ("parent_edge", np.int32),  # the edge that leads here, NONE for the root
        ("evaluated", np.bool_),  # by the network; always False at an end of the game
        ("mover", np.int8),  # the game's mover, so that backing up need not read the game
    ],
    align=True,
)
EDGE = np.dtype(
    [
        ("value_sum", np.float64),  # sum of backed-up values, of the parent's mover
        ("prior", np.float32),
        ("visits", np.int32),
        ("child", np.int16),  # node, or NONE
        ("parent", np.int16),  # node
        ("move", np.int8),  # bit position in the parent's `legal_mask`
    ],
    align=True,
)
TREE = np.dtype(
    [
        ("nodes", np.int32),  # in use
        ("edges", np.int32),
        ("simulations", np.int32),  # done since the root was set
    ],
    align=True,
)


class Trees(NamedTuple):
    """T search trees of up to N nodes and E edges each.

    Records instead of an array per field: a descent then finds an edge or a node in one cache
    line, and a kernel takes four arrays instead of sixteen.
    """

    tree: NDArray[np.void]
    """[T] of dtype TREE."""
    nodes: NDArray[np.void]
    """[T, N] of dtype NODE."""
    edges: NDArray[np.void]
    """[T, E] of dtype EDGE."""
    games: Games
    """[T, N] the position at each node, determinized."""


def max_moves(cards: int) -> int:
    """Most legal moves of a position: all bids from 0 to `cards`."""
    return cards + 1


def new_trees(trees: int, simulations: int, cards: int) -> Trees:
    """Arrays for `trees` searches of `simulations` each, in games of `cards`.

    Raises ValueError for more than MAX_SIMULATIONS.
    """
    if simulations > MAX_SIMULATIONS:
        raise ValueError(f"simulations must be at most {MAX_SIMULATIONS:,}, not {simulations:,}")
    nodes = simulations + 1
    return Trees(
        tree=np.zeros(trees, TREE),
        nodes=np.zeros((trees, nodes), NODE),
        edges=np.zeros((trees, nodes * max_moves(cards)), EDGE),
        games=np.zeros((trees, nodes), GAME),
    )


@inlined
def new_node(trees: Trees, t: int, parent_edge: int) -> int:
    """Append an unevaluated node without edges; the caller sets its game."""
    n = trees.tree[t].nodes
    trees.tree[t].nodes += 1
    node = trees.nodes[t, n]
    node.evaluated = False
    node.total = 0
    node.num_edges = 0
    node.parent_edge = parent_edge
    return n


@kernel
def reset(trees: Trees, t: int) -> None:
    """Reset tree `t` to an unevaluated root."""
    trees.tree[t].nodes = 0
    trees.tree[t].edges = 0
    trees.tree[t].simulations = 0
    new_node(trees, t, NONE)


@inlined
def expand(
    trees: Trees,
    t: int,
    n: int,
    legal: Integer,
    mover: int,
    priors: NDArray[np.float32],
    own_value: float,
) -> None:
    """Give node `n` its edges, with `priors` [moves] in the order of its legal moves.

    `legal` (its game's `legal_mask`), `mover` and `own_value` (the mover's value) are passed in,
    because the game itself is unlikely to be in the CPU's cache.
    """
    first = trees.tree[t].edges
    count = count_bits(legal)
    node = trees.nodes[t, n]
    node.evaluated = True
    node.mover = mover
    node.own_value = own_value
    node.first_edge = first
    node.num_edges = count
    for k in range(count):
        edge = trees.edges[t, first + k]
        edge.move = lowest_bit(legal)
        edge.prior = priors[k]
        edge.visits = 0
        edge.value_sum = 0.0
        edge.child = NONE
        edge.parent = n
        legal &= legal - np.int64(1)
    trees.tree[t].edges = first + count


@inlined
def select_edge(trees: Trees, t: int, n: int, c_puct: float) -> int:
    """The edge of node `n` with the highest PUCT score."""
    node = trees.nodes[t, n]
    scale = c_puct * math.sqrt(1.0 + node.total)
    best, best_score = node.first_edge, -1.0
    for e in range(node.first_edge, node.first_edge + node.num_edges):
        edge = trees.edges[t, e]
        visits = edge.visits
        q = edge.value_sum / visits if visits else node.own_value
        score = q + scale * np.float64(edge.prior) / (1.0 + visits)
        if score > best_score:
            best, best_score = e, score
    return best


@inlined
def grow(trees: Trees, t: int, e: int) -> int:
    """Append the node after edge `e`: its move is made, then moves without an alternative."""
    n = new_node(trees, t, e)
    edge = trees.edges[t, e]
    edge.child = n
    trees.games[t, n] = trees.games[t, edge.parent]
    play_move(trees.games[t, n], edge.move)
    play_forced(trees.games[t, n])
    return n


@inlined
def descend(trees: Trees, t: int, c_puct: float) -> tuple[int, int]:
    """Select down to a new node or an end of the game; returns (node, edges from the root)."""
    n, depth = 0, 0
    while trees.nodes[t, n].evaluated:
        e = select_edge(trees, t, n, c_puct)
        depth += 1
        n = trees.edges[t, e].child
        if n == NONE:
            return grow(trees, t, e), depth
    return n, depth


@inlined
def back_up(trees: Trees, t: int, n: int, values: NDArray[np.float64]) -> None:
    """Add `values` [MAX_PLAYERS], by absolute seat, along the path to node `n`."""
    e = trees.nodes[t, n].parent_edge
    while e != NONE:
        edge = trees.edges[t, e]
        edge.visits += 1
        node = trees.nodes[t, edge.parent]
        edge.value_sum += values[node.mover]
        node.total += 1
        e = node.parent_edge
    trees.tree[t].simulations += 1


@kernel
def final_values(game: Game, values: NDArray[np.float64]) -> None:
    """Write a finished game's values, by absolute seat, into `values` [MAX_PLAYERS]."""
    for seat in range(game.players):
        values[seat] = value(game, seat)


@kernel
def seat_values(
    mover: int, players: int, relative: NDArray[np.float32], values: NDArray[np.float64]
) -> None:
    """Write values counted from the mover, `relative`, into `values` by absolute seat.

    Both are [MAX_PLAYERS].
    """
    for turn in range(players):
        values[(mover + turn) % players] = relative[turn]


@kernel
def next_leaf(
    trees: Trees, t: int, limit: int, c_puct: float, values: NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """Simulate until a node needs the network or `limit` simulations are done.

    Returns (node or NONE, its depth, simulations that ended deeper than one move, simulations
    that ended the game one move deep); the last two count ends of the game, backed up here.
    `values` [MAX_PLAYERS] is scratch.
    """
    deep, shallow_ends = 0, 0
    while trees.tree[t].simulations < limit:
        node, depth = descend(trees, t, c_puct)
        if not is_over(trees.games[t, node]):
            return node, depth, deep, shallow_ends
        final_values(trees.games[t, node], values)
        back_up(trees, t, node, values)
        deep += depth > 1
        shallow_ends += depth == 1
    return NONE, 0, deep, shallow_ends


def scratch_values() -> NDArray[np.float64]:
    """Scratch for `next_leaf` and `back_up`."""
    return np.zeros(MAX_PLAYERS)
