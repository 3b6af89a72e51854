"""Compile the search kernels ahead of the first game."""

from __future__ import annotations

from engine.network.evaluator import PAD
from engine.search.batches import new_batch
from engine.search.gather import gather
from engine.search.lanes import SearchConfig, grant, new_group, temperature_table
from engine.search.scatter import scatter


def compile_kernels() -> None:
    """Compile every kernel that a search thread calls, or load it from the cache on disk.

    Plays one small game, with zeros in place of the network's answers.
    """
    config = SearchConfig(players=3, cards=2, simulations=4)
    group = new_group(config, 1, temperature_table(None, config.cards), new_batch(PAD, False))
    grant(group, [0])
    while group.tally[0]["games"] == 0:
        scatter(group, config, gather(group, config))
