"""PUCT in plain Python, a tree an object: how many engines are written. Real deals, real leaves.

Each simulation stops at one leaf, for whoever runs this to evaluate. The search sees all hands:
it is here to be slow in Python, not to be strong.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.game import rules
from engine.game.encoding import relabel_action
from engine.game.rng import seed_stream
from engine.game.rules import ACTIONS, BID, GAME, Game
from engine.search.lanes import DEAL_STREAM

PLAYERS, CARDS = 4, 5
C_PUCT = 0.25


class Node:
    """A decision: its moves, what they were worth to who makes them, and where they lead."""

    def __init__(self, game: Game) -> None:
        self.game = game
        legal = int(rules.legal_mask(game))
        self.moves = [move for move in range(legal.bit_length()) if legal >> move & 1]
        self.mover = int(game["mover"])
        self.priors: list[float] = []
        self.visits = [0] * len(self.moves)
        self.sums = [0.0] * len(self.moves)
        self.children: list[Node | None] = [None] * len(self.moves)

    def best(self) -> int:
        scale = C_PUCT * math.sqrt(1 + sum(self.visits))
        scores = [
            (total / n if n else 0.5) + scale * prior / (1 + n)
            for total, n, prior in zip(self.sums, self.visits, self.priors, strict=True)
        ]
        return scores.index(max(scores))

    def play(self, k: int) -> Game:
        """A copy of the position after move k and those without an alternative."""
        games = np.array([self.game], GAME)
        rules.play_move(games[0], self.moves[k])
        rules.play_forced(games[0])
        return games[0]


class Player:
    """Plays deal after deal against itself; `first`, `first + step`, … are their numbers."""

    def __init__(self, first: int, step: int, simulations: int = 30) -> None:
        self.deal, self.step, self.simulations = first, step, simulations
        self.games = self.evaluations = 0
        self.root = self._new_game()
        self.path: list[tuple[Node, int]] = []
        self.leaf = self.root
        self.done = 0

    def _new_game(self) -> Node:
        games, stream = np.zeros(1, GAME), np.zeros(1, np.uint64)
        seed_stream(stream, 0, 0, self.deal, DEAL_STREAM)
        self.deal += self.step
        rules.deal(games[0], PLAYERS, CARDS, stream, 0)
        rules.play_forced(games[0])
        return Node(games[0])

    def next_leaf(self) -> Game:
        """Search on, and play on, to a position that the network has not seen."""
        while True:
            if self.done >= self.simulations:
                self._decide()
            self.path, node = [], self.root
            while node.priors:
                k = node.best()
                self.path.append((node, k))
                child = node.children[k]
                if child is None:
                    game = node.play(k)
                    if rules.is_over(game):
                        self._back_up([float(rules.value(game, s)) for s in range(PLAYERS)])
                        break
                    child = node.children[k] = Node(game)
                node = child
            else:
                self.leaf = node
                return node.game

    def take(self, answer: NDArray[np.float32]) -> None:
        """The network's answer for the leaf, [ANSWERS]: logits, then values from its mover."""
        leaf, self.evaluations = self.leaf, self.evaluations + 1
        base = 0 if leaf.game["bids_made"] == PLAYERS else BID
        trump = int(leaf.game["trump"])
        powers = [math.exp(answer[relabel_action(base + move, trump)]) for move in leaf.moves]
        total = sum(powers)
        leaf.priors = [power / total for power in powers]
        turns = [(seat - leaf.mover) % PLAYERS for seat in range(PLAYERS)]
        self._back_up([float(answer[ACTIONS + turn]) for turn in turns])

    def _back_up(self, values: list[float]) -> None:
        for node, k in self.path:
            node.visits[k] += 1
            node.sums[k] += values[node.mover]
        self.done += 1

    def _decide(self) -> None:
        game = self.root.play(self.root.visits.index(max(self.root.visits)))
        self.done = 0
        if rules.is_over(game):
            self.games += 1
            self.root = self._new_game()
        else:
            self.root = Node(game)
