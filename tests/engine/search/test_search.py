"""The lockstep search against the recursive reference: equal visit counts, exactly."""

from __future__ import annotations

import numpy as np
import pytest
from conversion import random_decision, to_record, to_reference
from hash_evaluator import evaluate_game
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_rules import Game
from reference_search import search, search_sharing_leaf_value

from engine.game.rules import legal_mask
from engine.search.trees import (
    NONE,
    Trees,
    back_up,
    expand,
    new_trees,
    next_leaf,
    reset,
    scratch_values,
    seat_values,
)


def grow_edges(trees: Trees, t: int, n: int, priors: list[float], own_value: float) -> None:
    """Expand a node by its game."""
    game = trees.games[t, n]
    legal = legal_mask(game)
    expand(trees, t, n, legal, game["mover"], np.array(priors, np.float32), own_value)


def kernel_trees(games: list[Game], simulations: int, c_puct: float) -> Trees:
    """Search all games side by side, one leaf a tree a step, with the hash evaluator."""
    trees = new_trees(len(games), simulations, max(game.cards for game in games))
    for t, game in enumerate(games):
        reset(trees, t)
        trees.games[t, 0] = to_record(game)[0]
        priors, values = evaluate_game(game)
        grow_edges(trees, t, 0, priors, values[0])
    values = scratch_values()
    busy = list(range(len(games)))
    while busy:
        for t in list(busy):
            node = next_leaf(trees, t, simulations, c_puct, values)[0]
            if node == NONE:
                busy.remove(t)
                continue
            priors, relative = evaluate_game(to_reference(trees.games[t, node]))
            padded = np.zeros(8, np.float32)
            padded[: len(relative)] = relative
            game = trees.games[t, node]
            seat_values(game["mover"], game["players"], padded, values)
            grow_edges(trees, t, node, priors, relative[0])
            back_up(trees, t, node, values)
    return trees


def root_visits(trees: Trees, t: int) -> list[int]:
    root = trees.nodes[t, 0]
    return trees.edges[t, root["first_edge"] :][: root["num_edges"]]["visits"].tolist()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    simulations=st.sampled_from([1, 7, 30, 90]),
    c_puct=st.sampled_from([0.25, 1.0, 3.0]),
)
def test_visit_counts_equal_the_reference_exactly(
    seed: int, simulations: int, c_puct: float
) -> None:
    games = [random_decision(seed + 1000 * k) for k in range(3)]
    trees = kernel_trees(games, simulations, c_puct)
    for t, game in enumerate(games):
        expected = search(game, *evaluate_game(game), simulations, evaluate_game, c_puct)
        assert root_visits(trees, t) == expected
        assert sum(expected) == simulations


def test_sharing_the_leaf_s_value_would_choose_another_move() -> None:
    """The position of the reference's own test: own values find the winning card."""
    game = Game([[5, 51], [10, 23], [42, 47]], dealer=2, trump=0)
    for _ in range(3):
        game.apply(53)
    own = root_visits(kernel_trees([game], 200, 1.0), 0)
    shared = search_sharing_leaf_value(game, *evaluate_game(game), 200, evaluate_game, 1.0)
    assert game.legal_actions() == [5, 51]
    assert own[1] > own[0]
    assert shared[0] > shared[1]


def test_a_tree_starts_afresh_after_reset() -> None:
    first, second = random_decision(1, 4, 5), random_decision(2, 4, 5)
    trees = kernel_trees([first], 30, 0.25)
    once = kernel_trees([second], 30, 0.25)
    reset(trees, 0)
    assert trees.tree[0]["simulations"] == 0
    trees.games[0, 0] = to_record(second)[0]
    priors, values = evaluate_game(second)
    grow_edges(trees, 0, 0, priors, values[0])
    assert root_visits(trees, 0) == [0] * len(second.legal_actions())
    assert sum(root_visits(once, 0)) == 30


@pytest.mark.parametrize("simulations", [1, 30])
def test_no_tree_outgrows_its_arrays(simulations: int) -> None:
    games = [random_decision(k, 4, 13) for k in range(8)]
    trees = kernel_trees(games, simulations, 0.25)
    assert (trees.tree["nodes"] <= trees.nodes.shape[1]).all()
    assert (trees.tree["edges"] <= trees.edges.shape[1]).all()
