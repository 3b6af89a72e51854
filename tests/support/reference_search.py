"""PUCT on one position with full information: recursive, sequential, one value per player.

A tree node is a decision, that is a position with at least two legal actions, or a finished game:
forced moves are played through. One simulation descends from the root along the best-scored edges
until it meets a finished game or a position not yet in the tree, which is then evaluated. Each
decision on the path adds to the edge taken the leaf's value *for its own mover*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self


class Position(Protocol):
    """What the search needs of a game; ``reference_rules.Game`` is one."""

    @property
    def mover(self) -> int:
        """The seat to move."""

    def legal_actions(self) -> list[int]:
        """Ascending; at least one unless the game is over."""

    def apply(self, action: int) -> None:
        """Make the move, in place."""

    def is_over(self) -> bool:
        """Whether ``values`` may be asked."""

    def values(self) -> list[float]:
        """The outcome of a finished game, by absolute seat."""

    def copy(self) -> Self:
        """An independent position that is equal."""


Evaluation = tuple[Sequence[float], Sequence[float]]
"""Priors, one per legal action, and values, one per seat counted from the mover."""

Evaluate = Callable[[Any], Evaluation]
"""From a position to its evaluation."""


@dataclass
class Edge:
    """A legal action of a decision node.

    ``value_sum`` adds up, over the visits, the leaf's value for the seat that moves here.
    """

    action: int
    prior: float
    visits: int = 0
    value_sum: float = 0.0
    child: Node | None = None


@dataclass
class Node:
    """A decision, or a finished game, which has no edges.

    ``values`` are by absolute seat: the evaluation of a decision, the outcome of a finished game.
    ``mover`` of a finished game is the seat that made the last decision before it.
    """

    position: Position
    mover: int
    values: list[float]
    edges: list[Edge]

    @property
    def is_terminal(self) -> bool:
        """Whether the game is over here."""
        return not self.edges

    @property
    def visits(self) -> list[int]:
        """The visit counts of the legal actions, in ascending order of action."""
        return [edge.visits for edge in self.edges]


Credit = Callable[[Node, Node], float]
"""From a node on the path and the leaf to the value that the edge taken at the node receives."""


def value_for_own_mover(node: Node, leaf: Node) -> float:
    """The right backup: each player counts what the leaf is worth to itself."""
    return leaf.values[node.mover]


def value_for_leaf_mover(node: Node, leaf: Node) -> float:
    """The wrong backup: every player counts what the leaf is worth to the leaf's mover."""
    return leaf.values[leaf.mover]


def search(
    game: Position,
    root_priors: Sequence[float],
    root_values: Sequence[float],
    simulations: int,
    evaluate: Evaluate,
    c_puct: float,
) -> list[int]:
    """The visit count of each legal action of ``game`` after ``simulations`` simulations.

    The evaluation of the root is given: ``root_priors`` per legal action (mixed with noise, if
    there is to be noise) and ``root_values`` per seat counted from the mover.
    """
    return search_tree(game, root_priors, root_values, simulations, evaluate, c_puct).visits


def search_sharing_leaf_value(
    game: Position,
    root_priors: Sequence[float],
    root_values: Sequence[float],
    simulations: int,
    evaluate: Evaluate,
    c_puct: float,
) -> list[int]:
    """``search`` with a deliberate mistake: all players share the value of the leaf's mover."""
    tree = search_tree(
        game, root_priors, root_values, simulations, evaluate, c_puct, value_for_leaf_mover
    )
    return tree.visits


def determinized_search(
    determinizations: Iterable[Position],
    root_priors: Sequence[float],
    root_values: Sequence[float],
    simulations: int,
    evaluate: Evaluate,
    c_puct: float,
) -> list[int]:
    """The visit counts of one ``search`` per determinization, added up.

    The root is the same information set in each of them, so that one evaluation serves all.
    """
    counts = [
        search(game, root_priors, root_values, simulations, evaluate, c_puct)
        for game in determinizations
    ]
    return [sum(action_counts) for action_counts in zip(*counts, strict=True)]


def search_tree(
    game: Position,
    root_priors: Sequence[float],
    root_values: Sequence[float],
    simulations: int,
    evaluate: Evaluate,
    c_puct: float,
    credit: Credit = value_for_own_mover,
) -> Node:
    """The root of the tree that ``search`` grows."""
    if len(game.legal_actions()) < 2:
        raise ValueError("the root must be a decision: at least two legal actions")
    root = decision(game.copy(), (root_priors, root_values))
    for _ in range(simulations):
        simulate(root, evaluate, c_puct, credit)
    return root


def simulate(node: Node, evaluate: Evaluate, c_puct: float, credit: Credit) -> Node:
    """Run one simulation from ``node`` down and return the leaf that it ended in."""
    edge = select(node, c_puct)
    if edge.child is None:
        edge.child = leaf = expand(node, edge.action, evaluate)
    elif edge.child.is_terminal:
        leaf = edge.child
    else:
        leaf = simulate(edge.child, evaluate, c_puct, credit)
    edge.visits += 1
    edge.value_sum += credit(node, leaf)
    return leaf


def select(node: Node, c_puct: float) -> Edge:
    """The edge of the highest score; the first such edge if there are several.

    An edge without visits is taken to be worth what the node itself was evaluated at. The order of
    the operations is part of the definition: all are in double precision.
    """
    scale = c_puct * math.sqrt(1.0 + sum(node.visits))

    def score(edge: Edge) -> float:
        q = edge.value_sum / edge.visits if edge.visits else node.values[node.mover]
        return q + scale * edge.prior / (1.0 + edge.visits)

    return max(node.edges, key=score)


def expand(node: Node, action: int, evaluate: Evaluate) -> Node:
    """The node that ``action`` leads to, forced moves played through."""
    position = node.position.copy()
    position.apply(action)
    while not position.is_over() and len(position.legal_actions()) == 1:
        position.apply(position.legal_actions()[0])
    if position.is_over():
        return Node(position, node.mover, position.values(), edges=[])
    return decision(position, evaluate(position))


def decision(position: Position, evaluation: Evaluation) -> Node:
    """A node for a position with a choice, with its evaluation turned to absolute seats."""
    priors, values = evaluation
    players = len(values)
    edges = [
        Edge(action, prior) for action, prior in zip(position.legal_actions(), priors, strict=True)
    ]
    by_seat = [values[(seat - position.mover) % players] for seat in range(players)]
    return Node(position, position.mover, by_seat, edges)
