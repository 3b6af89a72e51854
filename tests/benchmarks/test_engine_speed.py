"""What the engine's parts cost on one core; run in full with `--benchmark-enable`.

`extra_info` holds the figure people compare, per item and second; pytest-benchmark shows the
seconds of a round.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conversion import random_position, to_record, void_position
from pytest_benchmark.fixture import BenchmarkFixture

from engine.game.belief import determinize, new_belief, prepare
from engine.game.encoding import STATE_DIM, StateEncoder
from engine.network.blobnet import InferenceNet, NetworkConfig, build_network
from engine.network.evaluator import Evaluator
from engine.network.precision import computes_bfloat16
from engine.search.batches import batch_rows, new_batch
from engine.search.examples import empty_examples
from engine.search.gather import gather
from engine.search.lanes import (
    Group,
    SearchConfig,
    grant,
    new_group,
    take_output,
    temperature_table,
)
from engine.search.scatter import scatter
from engine.training.replay import ReplayBuffer
from engine.training.trainer import NetworkTrainer

DEFAULT, SMALL = NetworkConfig(), NetworkConfig(128, 1, 4, 128)
CURVE = [
    SMALL,
    NetworkConfig(128, 2, 4, 512),
    NetworkConfig(256, 2, 8, 512),
    NetworkConfig(256, 4, 8, 1024),
    DEFAULT,
]
"""From where the trees are most of the work to where the network is."""
LANES, ROWS = 128, 288
DTYPES = ("float32", "bfloat16") if computes_bfloat16("cpu") else ("float32",)


def note(benchmark: BenchmarkFixture, what: str, items: float) -> None:
    """Items per second at the median, beside the seconds."""
    if benchmark.stats is not None:
        benchmark.extra_info[what] = round(items / benchmark.stats.stats.median)


def note_health(benchmark: BenchmarkFixture, tally: np.void) -> None:
    """Search health beside the rate, and games per minute where games were finished."""
    with_room = int(tally["simulations"] - tally["shallow_ends"])
    benchmark.extra_info.update(
        distinct_share=round(float(tally["distinct"] / tally["evaluations"]), 4),
        deep_share=round(int(tally["deep"]) / with_room, 3),
        mean_kl_nats=round(float(tally["kl"] / max(1, tally["decisions"])), 4),
    )
    rate = benchmark.extra_info.get("evaluations_per_second")
    if tally["games"] >= LANES and rate is not None:
        per_game = int(tally["game_evaluations"]) / int(tally["games"])
        benchmark.extra_info.update(
            evaluations_per_game=round(per_game), games_per_minute=round(60 * rate / per_game)
        )


def full_lanes(steps: int, evaluator: Evaluator | None = None) -> tuple[Group, SearchConfig]:
    """A group whose lanes have played `steps` steps, past the common start."""
    config = SearchConfig()
    batch = new_batch(batch_rows(LANES, config.determinizations), pinned=False)
    group = new_group(config, LANES, temperature_table(None, config.cards), batch)
    for _ in range(steps):
        take_step(group, config, evaluator)
    return group, config


def take_step(group: Group, config: SearchConfig, evaluator: Evaluator | None) -> None:
    """One lockstep step; without an evaluator the network is indifferent and free."""
    missing = LANES - int(group.grants_made[0] - group.tally[0]["games"])
    if missing:
        first = int(group.grants_made[0])
        grant(group, range(first, first + missing))
    rows = gather(group, config)
    if evaluator is not None and rows:
        evaluator.submit(rows)
        evaluator.wait()
    scatter(group, config, rows)
    if group.output_used[0] > len(group.output.game) // 2:
        take_output(group)


def test_tree_work(benchmark: BenchmarkFixture) -> None:
    """Everything but the network: select, expand, back up, encode, decide, deal."""
    group, config = full_lanes(600)
    before = int(group.tally[0]["simulations"])
    rounds, steps = 20, 50

    def run() -> None:
        for _ in range(steps):
            take_step(group, config, None)

    benchmark.pedantic(run, rounds=rounds, warmup_rounds=1)
    done = int(group.tally[0]["simulations"]) - before
    note(benchmark, "simulations_per_second", done / (rounds + 1))
    assert done > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CURVE, ids=str)
def test_bare_network(benchmark: BenchmarkFixture, config: NetworkConfig, dtype: str) -> None:
    """The inference form alone, on a batch such as the lanes make."""
    network = InferenceNet(build_network(config, "cpu")).to(getattr(torch, dtype)).pack()
    states = torch.zeros(ROWS, STATE_DIM, dtype=getattr(torch, dtype))
    with torch.inference_mode():
        benchmark.pedantic(network, (states,), rounds=30, iterations=4, warmup_rounds=3)
    note(benchmark, "evaluations_per_second", ROWS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CURVE, ids=str)
def test_self_play(benchmark: BenchmarkFixture, config: NetworkConfig, dtype: str) -> None:
    """One search thread: trees and network together, healthy search."""
    network = InferenceNet(build_network(config, "cpu")).to(getattr(torch, dtype)).pack()
    group, search = full_lanes(0)
    evaluator = Evaluator(network, group.batch.states, group.batch.answers)
    # A game takes about 500 steps: as many again, and all lanes have finished one.
    for _ in range(1000 if benchmark.enabled and config != DEFAULT else 40):
        take_step(group, search, evaluator)
    before = group.tally[0].copy()
    rounds, steps = 10, 20 if config == DEFAULT else 50

    def run() -> None:
        for _ in range(steps):
            take_step(group, search, evaluator)

    benchmark.pedantic(run, rounds=rounds, warmup_rounds=1)
    tally = group.tally[0]
    evaluations = int(tally["evaluations"] - before["evaluations"])
    note(benchmark, "evaluations_per_second", evaluations / (rounds + 1))
    note_health(benchmark, tally)
    assert tally["distinct"] == tally["evaluations"]
    assert tally["deep"] >= 0.5 * (tally["simulations"] - tally["shallow_ends"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_trainer(benchmark: BenchmarkFixture, dtype: str) -> None:
    """Steps of batch 512 on the default network, all cores."""
    buffer = ReplayBuffer(4096)
    examples = empty_examples(4096)
    examples.states[:, ::10] = 1
    examples.legal[:, :6] = True
    examples.policy[:, :6] = 1 / 6
    examples.outcome[:, :4] = 0.3
    examples.seats[:, :4] = True
    buffer.add(examples)
    trainer = NetworkTrainer(build_network(DEFAULT, "cpu"), batch_size=512, dtype=dtype)
    benchmark.pedantic(trainer.train, (buffer, 2), rounds=8, warmup_rounds=1)
    note(benchmark, "examples_per_second", 2 * 512)


@pytest.mark.parametrize(("players", "cards"), [(4, 5), (4, 13), (8, 6)])
def test_determinization(benchmark: BenchmarkFixture, players: int, cards: int) -> None:
    """Prepare a belief with voids and draw three deals from it."""
    records = [to_record(void_position(seed, players, cards)) for seed in range(20)]
    belief, streams = new_belief(), np.ones(1, np.uint64)
    deals = np.zeros(1, records[0].dtype)

    def run() -> None:
        for record in records:
            prepare(belief, record[0])
            for _ in range(3):
                deals[0] = record[0]
                determinize(belief, deals[0], streams, 0)

    benchmark.pedantic(run, rounds=30, iterations=5, warmup_rounds=1)
    note(benchmark, "decisions_per_second", len(records))


def test_encoding(benchmark: BenchmarkFixture) -> None:
    games = np.concatenate([to_record(random_position(seed, 4, 5)) for seed in range(500)])
    states = benchmark.pedantic(
        StateEncoder().encode, (games,), rounds=50, iterations=4, warmup_rounds=1
    )
    note(benchmark, "positions_per_second", len(games))
    assert states.shape == (500, STATE_DIM)
