"""The strength of a network in training, by matches against opponents that do not change.

The network plays with a search, against a random player, the rules of thumb, the network that
training began with, and its own policy without a search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from engine.matches.evaluation import Evaluation, MatchResult
from engine.matches.players import Player, random_player, raw_player, rule_player, search_player
from engine.network.blobnet import BlobNet, InferenceNet
from engine.search.lanes import SearchConfig

RANDOM, RULES, FIRST, RAW = "random", "rules", "first", "raw"

OnMatch = Callable[[str, int, int], None]
"""Called with the opponent, the number of games of the match, and of those that have ended."""


def measure_strength(
    network: BlobNet,
    first: BlobNet,
    search: SearchConfig,
    deals: int,
    on_match: OnMatch = lambda opponent, games, ended: None,
) -> Iterator[tuple[str, MatchResult]]:
    """Play the matches; yields each opponent with the result.

    Every call plays the same deals. Setting, seed, determinizations and simulations are those of
    `search`. Both networks stay unchanged on their devices. Raises what torch raises when one
    fails.
    """

    def searching(one: BlobNet) -> Player:
        inference = InferenceNet(one).eval()
        return search_player(inference, search.determinizations, search.simulations)

    agent = searching(network)
    assert agent.network is not None
    opponents = {
        RANDOM: random_player(),
        RULES: rule_player(),
        FIRST: searching(first),
        RAW: raw_player(agent.network),
    }
    for name, opponent in opponents.items():
        evaluation = Evaluation(
            agent, opponent, deals, search.players, search.cards, seed=search.seed
        )
        evaluation.play(partial(on_match, name, deals * search.players))
        result = evaluation.result()
        assert result is not None
        yield name, result
