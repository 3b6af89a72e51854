"""Games played on lanes in this process, without workers."""

from __future__ import annotations

from collections.abc import Callable

from engine.network.blobnet import InferenceNet, NetworkConfig, build_network
from engine.network.evaluator import Evaluator
from engine.search.batches import new_batch
from engine.search.examples import Examples, join_examples
from engine.search.gather import gather
from engine.search.lanes import (
    Group,
    SearchConfig,
    grant,
    new_group,
    open_midway,
    take_output,
    temperature_table,
)
from engine.search.scatter import scatter

SMALL = NetworkConfig(32, 2, 4, 64)


def play(
    config: SearchConfig,
    lanes: int,
    games: int,
    network: InferenceNet,
    after_step: Callable[[Group], None] = lambda group: None,
    midway: bool = False,
) -> tuple[Group, Examples]:
    """Play `games` deals to their end on this thread."""
    batch = new_batch(lanes * config.determinizations, pinned=False)
    group = new_group(config, lanes, temperature_table(None, config.cards), batch)
    evaluator = Evaluator(network, batch.states, batch.answers)
    if midway:
        open_midway(group, config)
    parts, waiting = [], list(range(games))
    while True:
        room = len(group.grants) - int(group.grants_made[0] - group.tally[0]["grants_used"])
        grant(group, waiting[:room])
        waiting = waiting[room:]
        rows = gather(group, config)
        parts.append(take_output(group))
        if rows == 0 and group.tally[0]["games"] == games:
            return group, join_examples(parts)
        if rows:
            evaluator.submit(rows)
            evaluator.wait()
            scatter(group, config, rows)
        after_step(group)


def generated(games: int, seed: int = 0) -> Examples:
    """Examples of games played by a small untrained network."""
    network = InferenceNet(build_network(SMALL, "cpu"))
    return play(SearchConfig(simulations=10, seed=seed), 16, games, network)[1]
