"""A network trained on the rule player's games in seconds: as strong, with sound values."""

from __future__ import annotations

import numpy as np

from engine.game.encoding import ActionMasker, StateEncoder, relabel_action
from engine.game.rng import seed_stream
from engine.game.rules import BID, GAME, deal, is_bidding, is_over, play_forced, play_move, value
from engine.matches.rule_player import rule_move
from engine.network.blobnet import BlobNet, NetworkConfig, build_network
from engine.search.examples import Examples, empty_examples
from engine.training.replay import ReplayBuffer
from engine.training.trainer import NetworkTrainer

TAUGHT = NetworkConfig(64, 2, 4, 128)


def lesson(number: int, players: int, cards: int) -> Examples:
    """The decisions of a deal that the rule player plays with itself, as if searched."""
    games, streams = np.zeros(1, GAME), np.zeros(1, np.uint64)
    seed_stream(streams, 0, 1, number, 0)
    game = games[0]
    deal(game, players, cards, streams, 0)
    positions, actions = [], []
    play_forced(game)
    while not is_over(game):
        positions.append(games.copy())
        move = rule_move(game)
        actions.append(relabel_action(move + (BID if is_bidding(game) else 0), game["trump"]))
        play_move(game, move)
        play_forced(game)
    examples, rows = empty_examples(len(positions)), np.concatenate(positions)
    examples.states[:] = StateEncoder().encode(rows)
    examples.legal[:] = ActionMasker().mask(rows)
    examples.policy[np.arange(len(rows)), actions] = 1.0
    for turn in range(players):
        examples.outcome[:, turn] = [value(game, (m + turn) % players) for m in rows["mover"]]
        examples.seats[:, turn] = True
    return examples


def taught_network(deals: int = 10_000, steps: int = 1500, players: int = 4) -> BlobNet:
    """A network of shape TAUGHT, trained on `deals` deals of 5 cards."""
    buffer = ReplayBuffer(deals * players * 6)
    for number in range(deals):
        buffer.add(lesson(number, players, 5))
    network = build_network(TAUGHT, "cpu", seed=1)
    NetworkTrainer(network, learning_rate=2e-3).train(buffer, steps)
    return network
