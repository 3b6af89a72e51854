"""How self-play scales with workers and with games; minutes each.

pytest -m proof tests/benchmarks/test_scaling.py --benchmark-enable -s
"""

from __future__ import annotations

from statistics import median
from time import monotonic

import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from engine.network.blobnet import NetworkConfig, build_network
from engine.network.devices import usable_cores
from engine.network.precision import choose_dtype
from engine.selfplay.engine import SelfPlayEngine
from engine.selfplay.telemetry import Progress

PAIRS = 8
SECONDS = 4.0


def evaluations_per_second(engine: SelfPlayEngine) -> float:
    """Of a window of SECONDS; lanes are full, the pause at its end is outside."""
    start = monotonic()
    seen: list[Progress] = []

    def enough(progress: Progress) -> bool:
        seen.append(progress)
        return progress.time - start >= SECONDS

    engine.play_until(enough)
    # Counters come in every fifth of a second: the first second settles, the last is whole.
    first = next(p for p in seen if p.time - start >= 1.0)
    done = int(seen[-1].tally["evaluations"] - first.tally["evaluations"])
    return done / (seen[-1].time - first.time)


@pytest.mark.proof
@pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
def test_two_workers_against_one(benchmark: BenchmarkFixture) -> None:
    """Self-play's two-to-one ratio ÷ the bare network's own, in alternating pairs."""
    network = build_network(NetworkConfig(), "cpu")
    dtype = choose_dtype(network, "cpu")
    played, bare = [], []

    def pair(one: SelfPlayEngine, two: SelfPlayEngine) -> None:
        played.append(evaluations_per_second(two) / evaluations_per_second(one))
        bare.append(two.measure_network(2.0) / one.measure_network(2.0))

    with (
        SelfPlayEngine(network, num_workers=1, dtype=dtype) as one,
        SelfPlayEngine(network, num_workers=2, dtype=dtype) as two,
    ):
        benchmark.pedantic(pair, (one, two), rounds=PAIRS, warmup_rounds=1)
    ratios = [p / b for p, b in zip(played, bare, strict=True)]
    benchmark.extra_info.update(
        self_play_two_to_one=round(median(played), 3),
        bare_two_to_one=round(median(bare), 3),
        ratio=round(median(ratios), 3),
        ratio_low=round(min(ratios), 3),
        ratio_high=round(max(ratios), 3),
        dtype=dtype,
    )
    print(benchmark.extra_info)
    assert median(played) > 1


@pytest.mark.proof
@pytest.mark.parametrize("games", [200, 2_000, 10_000])
def test_many_games(benchmark: BenchmarkFixture, games: int) -> None:
    """Games ÷ seconds of the whole call, its last wave too, and the parent's memory."""
    network = build_network(NetworkConfig(), "cpu")
    dtype = choose_dtype(network, "cpu")
    with SelfPlayEngine(network, dtype=dtype) as engine:
        engine.generate_games(50)
        before = psutil.Process().memory_info().rss
        result = benchmark.pedantic(engine.generate_games, (games,), rounds=1)
        grown = psutil.Process().memory_info().rss - before
    kept = sum(column.nbytes for column in result.examples)
    benchmark.extra_info.update(
        games=games,
        games_per_minute=round(60 * games / result.seconds),
        examples=result.examples.rows,
        examples_mib=round(kept / 2**20, 1),
        parent_grew_mib=round(grown / 2**20, 1),
        distinct_share=float(result.tally["distinct"] / result.tally["evaluations"]),
        dtype=dtype,
    )
    print(benchmark.extra_info)
    assert result.examples.rows == result.tally["decisions"]
