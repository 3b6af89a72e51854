"""Evaluation: duplicate deals, each side's moves its own, nothing lost when it is cut short."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lane_play import SMALL
from numpy.typing import NDArray
from taught import taught_network
from wrong_backup import SharedValues

from engine.game.encoding import StateEncoder, relabel_action
from engine.game.rng import below, seed_stream
from engine.game.rules import (
    BID,
    GAME,
    deal,
    is_bidding,
    is_over,
    legal_mask,
    play_forced,
    play_move,
)
from engine.matches.evaluation import Evaluation
from engine.matches.kernels import FIRST_DEAL, NOT_PLAYED
from engine.matches.players import (
    Player,
    random_player,
    raw_player,
    rollout_player,
    rule_player,
    search_player,
)
from engine.network.blobnet import BlobNet, InferenceNet, build_network
from engine.search.lanes import DEAL_STREAM


@pytest.fixture(scope="module")
def network() -> InferenceNet:
    return InferenceNet(build_network(SMALL, "cpu", seed=2))


def played(agent: Player, opponent: Player, deals: int, **options: int) -> Evaluation:
    evaluation = Evaluation(agent, opponent, deals, **options)
    evaluation.play()
    assert evaluation.finished.all()
    return evaluation


def mean_and_half_width(evaluation: Evaluation) -> tuple[float, float]:
    """Points a deal, and half of their 95 % interval."""
    differences = evaluation.differences()
    spread = float(differences.std(ddof=1))
    return float(differences.mean()), 1.96 * spread / math.sqrt(len(differences))


def legal_moves(game: np.void) -> list[int]:
    return [move for move in range(64) if int(legal_mask(game)) >> move & 1]


@pytest.mark.parametrize(("players", "cards"), [(4, 5), (3, 7), (6, 2)])
def test_scores_are_those_of_games_played_one_by_one(
    network: InferenceNet, players: int, cards: int
) -> None:
    """The network's own policy against a random player, move for move, in plain Python."""
    deals, seed = 12, 5
    evaluation = played(
        raw_player(network), random_player(), deals, players=players, cards=cards, seed=seed
    )
    games, streams = np.zeros(1, GAME), np.zeros(1, np.uint64)
    game = games[0]
    for number in range(deals * players):
        agent = number % players
        seed_stream(streams, 0, seed, FIRST_DEAL + number // players, DEAL_STREAM)
        deal(game, players, cards, streams, 0)
        play_forced(game)
        decisions = 0
        while not is_over(game):
            decisions += 1
            moves = legal_moves(game)
            if game["mover"] == agent:
                move = likeliest(network, games, moves)
            else:
                seed_stream(streams, 0, seed, FIRST_DEAL + number, decisions)
                move = moves[below(streams, 0, len(moves))]
            play_move(game, move)
            play_forced(game)
        bids, tricks = game["bids"][:players], game["tricks"][:players]
        expected = np.where(bids == tricks, 10 + bids, 0)
        np.testing.assert_array_equal(evaluation.scores[number // players, agent], expected)


def likeliest(network: InferenceNet, games: NDArray[np.void], moves: list[int]) -> int:
    """The legal move with the highest logit, in a batch as small as the lanes'."""
    states = np.repeat(StateEncoder().encode(games), 16, axis=0)
    with torch.inference_mode():
        logits = network(torch.from_numpy(states))[0].numpy()
    base = BID if is_bidding(games[0]) else 0
    return max(moves, key=lambda m: logits[relabel_action(base + m, games[0]["trump"])])


def test_players_without_draws_are_exactly_level_with_themselves(network: InferenceNet) -> None:
    """All seatings of a deal are then one game: the luck of the cards cancels to nothing."""
    for player in (rule_player(), raw_player(network)):
        evaluation = played(player, player, 200, seed=3)
        assert np.abs(evaluation.differences()).max() < 1e-12
        assert (evaluation.scores == evaluation.scores[:, :1]).all()
        agent, opponents = evaluation.exact_bids()
        np.testing.assert_allclose(agent, opponents)


@pytest.mark.parametrize("kind", ["random", "rollouts", "search"])
def test_a_player_with_draws_is_level_with_itself(network: InferenceNet, kind: str) -> None:
    """Both sides draw for themselves, so the difference is a real one, and 0 in its interval."""
    player = {
        "random": random_player(),
        "rollouts": rollout_player(2, 8),
        "search": search_player(network, 2, 8),
    }[kind]
    mean, width = mean_and_half_width(played(player, player, 300))
    assert abs(mean) < width
    assert width > 0


def test_the_stronger_player_is_ahead() -> None:
    against_random = played(rule_player(), random_player(), 500)
    mean, width = mean_and_half_width(against_random)
    assert mean - width > 2.5
    agent, opponents = (share.mean() for share in against_random.exact_bids())
    assert agent > 0.45 > 0.25 > opponents
    mean, width = mean_and_half_width(played(rollout_player(6, 30), random_player(), 200))
    assert mean - width > 2.5
    # More of the same search is better.
    mean, width = mean_and_half_width(played(rollout_player(12, 30), rollout_player(1, 4), 400))
    assert mean - width > 0


def test_a_deal_s_difference_is_the_mean_over_its_seatings() -> None:
    evaluation = played(rule_player(), random_player(), 50)
    expected = [
        np.mean([s[seat] - np.delete(s, seat).mean() for seat, s in enumerate(games)])
        for games in evaluation.scores.astype(float)
    ]
    np.testing.assert_allclose(evaluation.differences(), expected)


def test_the_same_seed_gives_the_same_games(network: InferenceNet) -> None:
    search = search_player(network, 2, 6)
    first = played(search, rule_player(), 40, seed=4, threads=2).scores
    again = played(search, rule_player(), 40, seed=4, threads=2).scores
    np.testing.assert_array_equal(first, again)
    other = played(search, rule_player(), 40, seed=5, threads=2).scores
    assert not np.array_equal(first, other)
    # Without a network's last bits the number of threads and lanes changes nothing either.
    rollouts = [
        played(rollout_player(2, 6), random_player(), 40, threads=threads, lanes=lanes).scores
        for threads, lanes in ((1, 7), (3, 50))
    ]
    np.testing.assert_array_equal(*rollouts)


def test_what_has_ended_stays_when_it_is_cut_short(network: InferenceNet) -> None:
    class Enough(Exception):
        pass

    def stop(games: int) -> None:
        if games > 100:
            raise Enough

    player = search_player(network, 3, 60)
    evaluation = Evaluation(player, player, 3000, threads=2, lanes=48)
    with pytest.raises(Enough):
        evaluation.play(stop)
    finished = evaluation.finished
    assert 10 < finished.sum() < 3000
    assert not evaluation.at_work
    assert len(evaluation.differences()) == finished.sum()
    assert (evaluation.scores[~finished] == NOT_PLAYED).any((1, 2)).all()


def test_a_network_that_fails_ends_the_evaluation(network: InferenceNet) -> None:
    class Failing(InferenceNet):
        def forward(self, states: object) -> object:  # type: ignore[override]
            raise RuntimeError("no memory left")

    failing = Failing(build_network(SMALL, "cpu"))
    with pytest.raises(RuntimeError, match="no memory left"):
        Evaluation(search_player(failing), search_player(network), 500, threads=2).play()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"players": 9}, "players"),
        ({"cards": 14}, "cards"),
        ({"deals": 0}, "deals must be at least 1"),
        ({"lanes": 0}, "lanes must be at least 1"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Evaluation(rule_player(), random_player(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def taught() -> BlobNet:
    return taught_network()


@pytest.mark.proof
def test_a_network_is_level_with_itself_in_17_of_20_evaluations(taught: BlobNet) -> None:
    player, level = search_player(InferenceNet(taught)), 0
    for seed in range(20):
        mean, width = mean_and_half_width(played(player, player, 200, seed=seed))
        print(f"seed {seed:2}: {mean:+.3f} ± {width:.3f}")
        level += abs(mean) <= width
    print(f"0 inside the 95 % interval in {level} of 20")
    assert level >= 17


@pytest.mark.slow
def test_search_beats_its_own_raw_policy_and_values_shared_between_rivals_lose(
    taught: BlobNet,
) -> None:
    right, wrong = InferenceNet(taught), SharedValues(taught)
    mean, width = mean_and_half_width(played(search_player(right), raw_player(right), 1500))
    print(f"search against raw: {mean:+.3f} ± {width:.3f}")
    assert mean - width > 0
    mean, width = mean_and_half_width(played(search_player(wrong), search_player(right), 3000))
    print(f"shared values against right ones: {mean:+.3f} ± {width:.3f}")
    assert mean + width < 0
