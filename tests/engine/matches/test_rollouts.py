"""Search without a network: every tree is the reference search's, visit for visit."""

from __future__ import annotations

import numpy as np
import pytest
from conversion import random_decision, to_record, to_reference
from reference_rule_player import merit
from reference_rules import Game
from reference_search import search

from engine.game.rng import seed_stream
from engine.game.rules import GAME
from engine.matches.rollouts import C_PUCT, rollout_move
from engine.search.batches import new_batch
from engine.search.lanes import SearchConfig, new_group, temperature_table


def play_out(game: Game) -> list[float]:
    """Values by absolute seat after the rule player has gone on for all."""
    game = game.copy()
    while not game.is_over():
        game.apply(max(game.legal_actions(), key=lambda action: merit(game, action)))
    return game.values()


def evaluate(game: Game) -> tuple[list[float], list[float]]:
    """Even priors, as float32 has them, and values counted from the mover."""
    moves, values = len(game.legal_actions()), play_out(game)
    turns = [(game.mover + turn) % game.players for turn in range(game.players)]
    return [float(np.float32(1 / moves))] * moves, [values[seat] for seat in turns]


@pytest.mark.parametrize("seed", range(12))
def test_trees_are_the_reference_search_s(seed: int) -> None:
    position = random_decision(seed, 4, 4)
    config = SearchConfig(cards=4, determinizations=2, simulations=12, seed=seed)
    group = new_group(config, 1, temperature_table(None, 4), new_batch(2, pinned=False))
    group.lanes.games[:] = to_record(position)
    seed_stream(group.lanes.streams, 0, seed, 0, 1)
    picked = rollout_move(group, config, 0, np.zeros(1, GAME))
    total = np.zeros(len(position.legal_actions()), int)
    for t in range(config.determinizations):
        root = to_reference(group.trees.games[t, 0])
        assert root.hands[root.mover] == position.hands[position.mover]
        expected = search(root, *evaluate(root), config.simulations, evaluate, C_PUCT)
        edges = group.trees.nodes[t, 0]["num_edges"]
        assert group.trees.edges[t, :edges]["visits"].tolist() == expected
        total += expected
    assert picked == int(total.argmax())
