"""The reference search on trees small enough to follow by hand, and on Blob itself."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hash_evaluator import evaluate_game
from hypothesis import given
from hypothesis import strategies as st
from reference_rules import BID, Game, deal
from reference_search import (
    Evaluation,
    Node,
    determinized_search,
    search,
    search_sharing_leaf_value,
    search_tree,
    value_for_leaf_mover,
)


@dataclass
class Move:
    """A decision in a hand-made tree, with what the evaluator says of it (by absolute seat)."""

    mover: int
    options: list[Move | Outcome]
    priors: list[float]
    values: list[float]


@dataclass
class Outcome:
    """An end of a hand-made tree."""

    values: list[float]


@dataclass
class HandMade:
    """A place in a hand-made tree, as the search wants to see it."""

    at: Move | Outcome

    @property
    def mover(self) -> int:
        assert isinstance(self.at, Move)
        return self.at.mover

    def legal_actions(self) -> list[int]:
        return list(range(len(self.at.options))) if isinstance(self.at, Move) else []

    def apply(self, action: int) -> None:
        assert isinstance(self.at, Move)
        self.at = self.at.options[action]

    def is_over(self) -> bool:
        return isinstance(self.at, Outcome)

    def values(self) -> list[float]:
        assert isinstance(self.at, Outcome)
        return self.at.values

    def copy(self) -> HandMade:
        return HandMade(self.at)


def evaluate_hand_made(position: HandMade) -> Evaluation:
    """What the tree says, turned so that the mover comes first."""
    move = position.at
    assert isinstance(move, Move)
    return move.priors, move.values[move.mover :] + move.values[: move.mover]


def even(mover: int, *options: Move | Outcome) -> Move:
    """A decision between two players of which the evaluator has no opinion."""
    return Move(mover, list(options), [0.5] * len(options), [0.5, 0.5])


def after_bidding(trump: int, bids: list[int], hands: list[list[int]]) -> Game:
    """A game in which the last seat dealt and seat 0 is to lead."""
    game = Game(hands, dealer=len(hands) - 1, trump=trump)
    for bid in bids:
        game.apply(BID + bid)
    return game


def after(game: Game, action: int) -> Game:
    """The game after one more move."""
    later = game.copy()
    later.apply(action)
    return later


def random_decision(seed: int, players: int, cards: int, moves: int) -> Game | None:
    """A random game after some random moves, moved on to the next decision if there is one."""
    rng = random.Random(seed)
    game = deal(players, cards, rng.randrange(players), rng.randrange(5), rng)
    for _ in range(moves):
        game.apply(rng.choice(game.legal_actions()))
    while len(game.legal_actions()) == 1:
        game.apply(game.legal_actions()[0])
    return None if game.is_over() else game


def grow(
    position: HandMade | Game, simulations: int, c_puct: float = 1.0, sharing: bool = False
) -> Node:
    """The search tree from a position that is evaluated as its kind is."""
    evaluate = evaluate_game if isinstance(position, Game) else evaluate_hand_made
    priors, values = evaluate(position)  # type: ignore[arg-type]
    credit = {"credit": value_for_leaf_mover} if sharing else {}
    return search_tree(position, priors, values, simulations, evaluate, c_puct, **credit)


def decisions(node: Node) -> list[Node]:
    """All the decision nodes of a tree."""
    if node.is_terminal:
        return []
    children = [edge.child for edge in node.edges if edge.child is not None]
    return [node, *(below for child in children for below in decisions(child))]


def test_five_simulations_by_hand() -> None:
    """c_puct is 4. Seat 1 is expected to choose the option that seat 0 likes.

    =====  ==================  ==============================  ===============================
    total  4 sqrt(1 + total)   score of the first              score of the second
    =====  ==================  ==============================  ===============================
    0      4                   0.5 + 4 * 0.5 / 1 = 2.5, tie    0.5 + 4 * 0.5 / 1 = 2.5
    1      5.657               0.25 + 5.657 * 0.5 / 2 = 1.66   0.5 + 5.657 * 0.5 / 1 = 3.33
    2      6.928               0.25 + 6.928 * 0.5 / 2 = 1.98   1 + 6.928 * 0.5 / 2 = 2.73
    3      8                   0.25 + 8 * 0.5 / 2 = 2.25       1 + 8 * 0.5 / 3 = 2.33
    4      8.944               0.25 + 8.944 * 0.5 / 2 = 2.49   1 + 8.944 * 0.5 / 4 = 2.12
    =====  ==================  ==============================  ===============================
    """
    reply = Move(1, [Outcome([0.0, 1.0]), Outcome([1.0, 0.0])], [0.25, 0.75], [0.25, 0.75])
    root = even(0, reply, Outcome([1.0, 0.0]))
    visits = [grow(HandMade(root), n, c_puct=4.0).visits for n in range(6)]

    assert visits == [[0, 0], [1, 0], [1, 1], [1, 2], [1, 3], [2, 3]]

    tree = grow(HandMade(root), 5, c_puct=4.0)
    first, second = tree.edges
    assert (first.value_sum, second.value_sum) == (0.25 + 1.0, 3.0)
    assert first.child is not None
    assert first.child.values == [0.25, 0.75]
    assert [(e.visits, e.value_sum) for e in first.child.edges] == [(0, 0.0), (1, 0.0)]


def test_ties_go_to_the_lowest_action() -> None:
    root = even(0, *[Outcome([0.5, 0.5]) for _ in range(4)])

    assert grow(HandMade(root), 3).visits == [1, 1, 1, 0]


def test_forced_moves_are_played_through() -> None:
    """Both options pass through moves without a choice, to an end and to a decision."""
    choice = even(1, Outcome([0.0, 1.0]), Outcome([1.0, 0.0]))
    root = even(0, even(1, even(0, Outcome([0.0, 1.0]))), even(1, even(0, choice)))
    to_end, to_choice = grow(HandMade(root), 2).edges

    assert to_end.child is not None
    assert to_end.child.is_terminal
    assert to_end.child.values == [0.0, 1.0]
    assert to_choice.child is not None
    assert to_choice.child.mover == 1
    assert len(to_choice.child.edges) == 2


def test_sharing_the_leafs_value_misjudges_the_opponents_reply() -> None:
    """The first move lets seat 1 take everything; the second divides the stake for certain.

    With the wrong backup seat 0 takes seat 1's gain from the first move for its own.
    """
    greedy_reply = even(1, Outcome([0.0, 1.0]), Outcome([1.0, 0.0]))
    safe_reply = even(1, Outcome([0.5, 0.5]), Outcome([0.5, 0.5]))
    root = even(0, greedy_reply, safe_reply)

    right = grow(HandMade(root), 200).visits
    wrong = grow(HandMade(root), 200, sharing=True).visits

    assert right[1] > right[0]
    assert wrong[0] > wrong[1]


def test_sharing_the_leafs_value_chooses_a_losing_card_in_blob() -> None:
    """Clubs are trump; each of three players has bid one trick; seat 0 leads.

    If it leads the club 7, seat 1 must win with the queen and goes on to take the last trick too:
    seat 0 scores nothing. If it leads the ace of spades it wins one trick whatever the others do:
    this one, or the next with its trump once seat 1 has spent the queen.
    """
    club_7, club_queen, diamond_queen = 5, 10, 23
    spade_5, spade_10, spade_ace = 42, 47, 51
    hands = [[club_7, spade_ace], [club_queen, diamond_queen], [spade_5, spade_10]]
    game = after_bidding(trump=0, bids=[1, 1, 1], hands=hands)
    assert game.legal_actions() == [club_7, spade_ace]
    assert worth(game, club_7) == {0.0}
    assert worth(game, spade_ace) == {11 / 12}
    priors, values = evaluate_game(game)

    right = search(game, priors, values, 200, evaluate_game, 1.0)
    wrong = search_sharing_leaf_value(game, priors, values, 200, evaluate_game, 1.0)

    assert right[1] > right[0]
    assert wrong[0] > wrong[1]


def outcomes_of_good_play(game: Game) -> list[list[float]]:
    """How a game may end if all play best for themselves with open cards, indifferent choices open.

    An option is good unless its best outcome for the mover is below what another option assures.
    """
    if game.is_over():
        return [game.values()]
    mover = game.mover
    options = [outcomes_of_good_play(after(game, action)) for action in game.legal_actions()]
    assured = max(min(outcome[mover] for outcome in option) for option in options)
    return [outcome for option in options for outcome in option if outcome[mover] >= assured]


def worth(game: Game, action: int) -> set[float]:
    """What ``action`` may bring its mover if all go on to play well."""
    return {outcome[game.mover] for outcome in outcomes_of_good_play(after(game, action))}


def test_enough_simulations_find_the_best_card() -> None:
    """Wherever one of two cards is better whatever indifferent players do, the search plays it."""
    clear_cases = 0
    for seed in range(150):
        game = random_decision(seed, players=3, cards=2, moves=3)
        if game is None or game.is_bidding() or game.played:
            continue
        first, second = (worth(game, action) for action in game.legal_actions())
        visits = grow(game, 200).visits
        if min(first) > max(second):
            assert visits[0] > visits[1]
            clear_cases += 1
        if min(second) > max(first):
            assert visits[1] > visits[0]
            clear_cases += 1
    assert clear_cases >= 20


small_decisions = st.builds(
    random_decision,
    seed=st.integers(0, 2**32 - 1),
    players=st.integers(3, 5),
    cards=st.integers(2, 5),
    moves=st.integers(0, 8),
).filter(lambda game: game is not None)
"""Blob positions in which there is something to decide."""


@given(small_decisions, st.integers(0, 60), st.sampled_from([0.5, 1.25, 4.0]))
def test_the_tree_adds_up(game: Game, simulations: int, c_puct: float) -> None:
    before = repr(vars(game))
    tree = grow(game, simulations, c_puct)

    assert sum(tree.visits) == simulations
    assert repr(vars(game)) == before, "the search leaves its game alone"
    assert tree.visits == grow(game, simulations, c_puct).visits, "deterministic"
    for node in decisions(tree):
        assert [edge.action for edge in node.edges] == node.position.legal_actions()
        assert len(node.edges) >= 2
        assert node.mover == node.position.mover
        assert isinstance(node.position, Game)
        priors, values = evaluate_game(node.position)
        assert [edge.prior for edge in node.edges] == priors
        for k, value in enumerate(values):
            assert node.values[(node.mover + k) % game.players] == value
        for edge in node.edges:
            assert (edge.child is None) == (edge.visits == 0)
            if edge.child is not None and not edge.child.is_terminal:
                assert sum(edge.child.visits) == edge.visits - 1, "the first visit evaluates"
            expected = sum(values[node.mover] for values in leaf_values(edge.child, edge.visits))
            assert edge.value_sum == pytest.approx(expected)


def leaf_values(child: Node | None, visits: int) -> list[list[float]]:
    """The leaf values, by seat, of all the simulations that came to a node."""
    if child is None:
        return []
    if child.is_terminal:
        return [child.values] * visits
    below = [values for e in child.edges for values in leaf_values(e.child, e.visits)]
    return [child.values, *below]


@given(small_decisions)
def test_one_search_grows_into_the_next(game: Game) -> None:
    """Simulations are sequential: one more changes one count by one."""
    counts = [grow(game, simulations).visits for simulations in range(8)]

    for fewer, more in pairwise(counts):
        assert sorted(b - a for a, b in zip(fewer, more, strict=True))[-2:] == [0, 1]


def test_determinizations_are_added_up() -> None:
    rng = random.Random(5)
    game = deal(4, 5, dealer=0, trump=3, rng=rng)
    others = [c for seat in range(4) if seat != game.mover for c in game.hands[seat]]
    determinizations = []
    for _ in range(3):
        rng.shuffle(others)
        hands = [others[5 * i : 5 * i + 5] for i in range(3)]
        hands.insert(game.mover, sorted(game.hands[game.mover]))
        determinizations.append(Game(hands, dealer=0, trump=3))
    priors, values = evaluate_game(game)

    total = determinized_search(determinizations, priors, values, 30, evaluate_game, 1.25)

    each = [search(g, priors, values, 30, evaluate_game, 1.25) for g in determinizations]
    assert total == [a + b + c for a, b, c in zip(*each, strict=True)]
    assert sum(total) == 90


def test_the_given_root_priors_are_used() -> None:
    """Noise is mixed in by the caller: a prior of 0 keeps an equal action unvisited."""
    root = HandMade(even(0, Outcome([0.5, 0.5]), Outcome([0.5, 0.5])))

    visits = search(root, [0.0, 1.0], [0.5, 0.5], 20, evaluate_hand_made, 1.0)

    assert visits == [0, 20]


def test_a_root_without_a_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a decision"):
        search(HandMade(even(0, Outcome([1.0, 0.0]))), [1.0], [0.5, 0.5], 1, evaluate_hand_made, 1)
