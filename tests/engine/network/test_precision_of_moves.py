"""bfloat16 plays the moves that float32 plays, with a network that has learnt something."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from decisions import searched_policies

from engine.game.rules import Games, is_over, legal_mask
from engine.network.blobnet import InferenceNet, NetworkConfig, build_network
from engine.network.precision import difference, probe_games, probe_states
from engine.search.lanes import SearchConfig
from engine.selfplay.engine import SelfPlayEngine
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import TrainingPipeline
from engine.training.replay import ReplayBuffer
from engine.training.schedules import Ramp
from engine.training.trainer import NetworkTrainer

ITERATIONS, GAMES = 4, 400


def choices(count: int) -> Games:
    """The first `count` probe games that offer the mover a choice."""
    games = probe_games(4 * count)
    open_ = [
        i
        for i in range(len(games))
        if not is_over(games[i]) and int(legal_mask(games[i])).bit_count() > 1
    ]
    return games[open_[:count]]


@pytest.mark.proof
def test_bfloat16_chooses_the_moves_of_float32() -> None:
    """At least 98 % of the moves chosen in 1,000 positions, after some training."""
    network = build_network(NetworkConfig(), "cpu", seed=5)
    with SelfPlayEngine(network, seed=5, dtype="bfloat16") as engine:
        settings = TrainingSettings(ITERATIONS, Ramp.level(GAMES))
        pipeline = TrainingPipeline(
            engine, NetworkTrainer(network), ReplayBuffer(100_000), settings
        )
        assert len(list(pipeline.run())) == ITERATIONS
    exact = InferenceNet(network)
    fast = InferenceNet(network).to(torch.bfloat16)
    assert difference(exact, fast, probe_states(1024)).within_tolerance
    games, config = choices(1000), SearchConfig(noise_share=0.0)
    plain, rounded = (searched_policies(games, net, config) for net in (exact, fast))
    agreed = plain.argmax(1) == rounded.argmax(1)
    print(f"{agreed.mean():.1%} of moves agree, after {ITERATIONS * GAMES} games of training")
    assert agreed.mean() >= 0.98
    # Where they differ, float32 itself saw the two moves as nearly equal.
    rows = np.flatnonzero(~agreed)
    lost = plain[rows, plain[rows].argmax(1)] - plain[rows, rounded[rows].argmax(1)]
    assert not len(rows) or lost.max() < 0.2
