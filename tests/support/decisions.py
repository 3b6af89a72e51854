"""One searched decision in each of many positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.game.rules import ACTIONS, Games
from engine.network.blobnet import InferenceNet
from engine.network.evaluator import Evaluator
from engine.search.batches import new_batch
from engine.search.gather import gather
from engine.search.lanes import OPENING, SearchConfig, new_group, temperature_table
from engine.search.scatter import scatter


def searched_policies(
    games: Games, network: InferenceNet, config: SearchConfig
) -> NDArray[np.float32]:
    """[B, ACTIONS] visit shares of one decision in each game, suits as encoded.

    Every game must offer a choice; the same seed gives the same determinizations and noise.
    """
    lanes = len(games)
    batch = new_batch(lanes * config.determinizations, pinned=False)
    group = new_group(config, lanes, temperature_table(None, config.cards), batch)
    evaluator = Evaluator(network, batch.states, batch.answers)
    group.lanes.games[:] = games
    group.lanes.lane["stage"] = OPENING
    group.lanes.lane["game_id"] = np.arange(lanes)
    policies = np.zeros((lanes, ACTIONS), np.float32)
    waiting = set(range(lanes))
    while waiting:
        rows = gather(group, config)
        for lane in list(waiting):
            if group.lanes.lane[lane]["decisions"]:
                policies[lane] = group.lanes.policy[lane, 0]
                waiting.remove(lane)
        evaluator.submit(rows)
        evaluator.wait()
        scatter(group, config, rows)
    return policies
