"""Lanes: every decision is the reference search's, every game comes out whole."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from conversion import to_record, to_reference
from lane_play import SMALL, play
from reference_rules import BID, Game
from reference_search import determinized_search

from engine.game.encoding import ActionMasker, StateEncoder, relabel_action
from engine.game.rules import ACTIONS
from engine.network.blobnet import InferenceNet, build_network
from engine.network.evaluator import PAD, Evaluator
from engine.search.batches import new_batch
from engine.search.examples import Examples
from engine.search.gather import gather
from engine.search.lanes import (
    SEARCHING,
    Group,
    SearchConfig,
    bids_and_two_tricks,
    grant,
    new_group,
    take_output,
    temperature_table,
)
from engine.search.trees import NONE


@pytest.fixture(scope="module")
def network() -> InferenceNet:
    return InferenceNet(build_network(SMALL, "cpu", seed=2))


def padded_answers(network: InferenceNet, game: Game) -> tuple[list[float], list[float]]:
    """The network's priors and values for one position, in the batch shape the lanes use."""
    batch = new_batch(1, pinned=False)
    batch.states[:1] = StateEncoder().encode(to_record(game))
    Evaluator(network, batch.states, batch.answers).submit(1)
    logits = [
        float(batch.answers[0, relabel_action(action, game.trump)])
        for action in game.legal_actions()
    ]
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    total = sum(weights)
    # Priors are kept in float32 by both sides.
    priors = [float(np.float32(np.float32(weight) / total)) for weight in weights]
    return priors, [float(value) for value in batch.answers[0, ACTIONS : ACTIONS + game.players]]


@pytest.mark.parametrize(("players", "cards"), [(4, 5), (3, 7), (6, 3)])
def test_decisions_are_the_reference_search_s(
    network: InferenceNet, players: int, cards: int
) -> None:
    """At one batch shape, at least 99.5 % of decisions have exactly the same visits."""
    config = SearchConfig(players=players, cards=cards, simulations=20, seed=9)
    lanes = PAD // config.determinizations
    started: dict[tuple[int, int], list[int]] = {}
    seen: dict[tuple[int, int], list[int]] = {}

    def record(group: Group) -> None:
        for lane in range(lanes):
            state = group.lanes.lane[lane]
            first = lane * config.determinizations
            key = (int(state["game_id"]), int(state["decisions"]))
            if state["stage"] != SEARCHING or key in started:
                continue
            trees = group.trees
            roots = [
                to_reference(trees.games[first + d, 0]) for d in range(config.determinizations)
            ]
            node = trees.nodes[first, 0]
            priors = [float(p) for p in trees.edges[first, : node["num_edges"]]["prior"]]
            values = padded_answers(network, roots[0])[1]
            assert values[0] == pytest.approx(float(node["own_value"]), abs=1e-6)
            started[key] = determinized_search(
                roots,
                priors,
                values,
                config.simulations,
                lambda game: padded_answers(network, game),
                config.c_puct,
            )
            seen[key] = roots[0].legal_actions()

    _, examples = play(config, lanes, 8, network, record)
    total = config.simulations * config.determinizations
    decision, agreed = Counter(), 0
    order: dict[tuple[int, int], int] = {}
    for row, game in enumerate(examples.game):
        order[int(game), decision[int(game)]] = row
        decision[int(game)] += 1
    assert order.keys() == started.keys()
    for key, row in order.items():
        visits = np.rint(examples.policy[row] * total).astype(int)
        agreed += sorted(visits[visits > 0]) == sorted(v for v in started[key] if v)
    assert agreed >= 0.995 * len(order)


def test_every_game_comes_out_whole(network: InferenceNet) -> None:
    config = SearchConfig(players=4, cards=5, simulations=10, seed=3)
    group, examples = play(config, 6, 40, network)
    tally = group.tally[0]
    assert tally["games"] == tally["grants_used"] == len(set(examples.game)) == 40
    assert tally["evaluations"] == tally["distinct"] == tally["game_evaluations"]
    assert tally["decisions"] == examples.rows
    assert tally["simulations"] == examples.rows * 30
    assert tally["settled"] == 6
    assert 0 < tally["deep"] <= tally["simulations"] - tally["shallow_ends"]
    np.testing.assert_allclose(examples.policy.sum(1), 1, rtol=1e-5)
    assert not examples.policy[~examples.legal].any()
    assert (examples.legal.sum(1) > 1).all()
    assert (examples.seats[:, :4].all(), examples.seats[:, 4:].any()) == (True, False)
    assert not examples.outcome[:, 4:].any()
    # A seat scores 0 or 10 + its bid, at most 10 + the cards.
    scores = np.rint(examples.outcome * 15)
    np.testing.assert_allclose(scores, examples.outcome * 15, atol=1e-4)
    assert set(np.unique(scores)) <= {0, *range(10, 16)}


def test_all_examples_of_a_game_tell_of_the_same_outcome(network: InferenceNet) -> None:
    _, examples = play(SearchConfig(cards=4, simulations=8), 5, 10, network)
    for game in range(10):
        rows = examples.outcome[examples.game == game][:, :4]
        rotations = {tuple(np.roll(rows[0], k)) for k in range(4)}
        assert {tuple(row) for row in rows} <= rotations


def test_the_same_seed_gives_the_same_games_whatever_the_lanes(network: InferenceNet) -> None:
    """Same deals always; with one batch shape the same moves too."""
    config = SearchConfig(simulations=6, seed=5)
    first: list[Examples] = []
    for lanes in (2, 5):
        examples = play(config, lanes, 12, network)[1]
        starts = [int(np.flatnonzero(examples.game == game)[0]) for game in range(12)]
        first.append(Examples._make(column[starts] for column in examples))
    np.testing.assert_array_equal(first[0].states, first[1].states)
    other = play(config._replace(seed=6), 2, 12, network)[1]
    starts = [int(np.flatnonzero(other.game == game)[0]) for game in range(12)]
    assert not np.array_equal(other.states[starts], first[0].states)


def test_the_first_example_of_a_game_is_its_first_bid(network: InferenceNet) -> None:
    examples = play(SearchConfig(simulations=4), 3, 5, network)[1]
    for game in range(5):
        row = int(np.flatnonzero(examples.game == game)[0])
        assert examples.legal[row, BID:].sum() == 6
        assert not examples.legal[row, :BID].any()
        assert examples.states[row, :52].sum() == 5


def test_noise_changes_the_priors_and_no_noise_leaves_them(network: InferenceNet) -> None:
    visits = []
    for share in (0.0, 0.25):
        config = SearchConfig(simulations=30, noise_share=share, seed=1)
        visits.append(play(config, 4, 6, network)[1].policy[0])
    assert not np.array_equal(visits[0], visits[1])


def test_games_begun_midway_end_evenly(network: InferenceNet) -> None:
    """Begun midway, games end evenly: no step ends more than a few of 30 lanes' games."""
    config = SearchConfig(simulations=10, seed=2)

    def most_ends(midway: bool) -> int:
        ends, before = [], [0]

        def count(group: Group) -> None:
            ends.append(int(group.tally[0]["games"]) - before[0])
            before[0] = int(group.tally[0]["games"])

        play(config, 30, 90, network, count, midway)
        window = [sum(ends[i : i + 11]) for i in range(len(ends))]
        return max(window[: len(window) // 2])

    assert most_ends(midway=True) < most_ends(midway=False)


def test_temperatures_are_asked_for_each_own_move() -> None:
    assert temperature_table(None, 5).tolist() == [1, 1, 1, 0, 0, 0]
    assert temperature_table(lambda move: 0.5 * move, 2).tolist() == [0, 0.5, 1]
    assert bids_and_two_tricks(0) == 1
    for bad in (lambda move: -1.0, lambda move: math.nan):
        with pytest.raises(ValueError, match="temperature_schedule"):
            temperature_table(bad, 5)


def test_the_ring_of_grants_refuses_to_overflow(network: InferenceNet) -> None:
    config = SearchConfig()
    group = new_group(config, 2, temperature_table(None, 5), new_batch(6, pinned=False))
    grant(group, range(len(group.grants)))
    with pytest.raises(ValueError, match="no room"):
        grant(group, [0])


def test_an_empty_group_asks_for_nothing() -> None:
    config = SearchConfig()
    group = new_group(config, 2, temperature_table(None, 5), new_batch(6, pinned=False))
    assert gather(group, config) == 0
    assert group.tally[0]["evaluations"] == 0
    assert take_output(group).rows == 0
    assert NONE == -1


def test_masks_in_examples_are_the_masker_s(network: InferenceNet) -> None:
    examples = play(SearchConfig(simulations=4, players=3, cards=3), 2, 3, network)[1]
    assert examples.legal.shape[1] == ActionMasker.num_actions
    assert torch.from_numpy(examples.states).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"full_share": 0.0}, "full_share must be above 0 and at most 1, not 0.0"),
        ({"full_share": 1.5}, "full_share must be"),
        ({"full_share": 0.5, "fast_simulations": 0}, "fast_simulations must be 1 to 30, not 0"),
        ({"full_share": 0.5, "fast_simulations": 31}, "fast_simulations must be 1 to 30, not 31"),
    ],
)
def test_caps_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        new_group(SearchConfig(**options), 2, temperature_table(None, 5), new_batch(6, False))


def test_only_decisions_searched_in_full_become_examples(network: InferenceNet) -> None:
    """Three tenths of them; a visit is then a twentieth, of all others none is left."""
    config = SearchConfig(simulations=10, determinizations=2, full_share=0.3, fast_simulations=2)
    group, examples = play(config, 16, 200, network)
    decisions = int(group.tally[0]["decisions"])
    assert examples.rows / decisions == pytest.approx(0.3, abs=0.05)
    visits = 20 * examples.policy
    np.testing.assert_allclose(visits, visits.round(), atol=1e-4)
    np.testing.assert_allclose(visits.sum(1), 20, atol=1e-3)
    # State, legal actions and policy are of one decision: a card is played from the hand.
    assert not examples.policy[~examples.legal].any()
    playing = examples.legal[:, :BID].any(1)
    assert (examples.legal[:, :BID] <= (examples.states[:, :BID] > 0))[playing].all()
    # All others take four visits and a root.
    every, whole = play(config._replace(full_share=1.0), 16, 200, network)
    assert whole.rows == int(every.tally[0]["decisions"])
    fewer = group.tally[0]["evaluations"] / every.tally[0]["evaluations"]
    assert 0.3 < fewer < 0.6
