"""What telemetry and the watch over the stacks cost a worker; half a minute.

pytest -m proof tests/benchmarks/test_telemetry_cost.py --benchmark-enable -s
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import monotonic, sleep, thread_time
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from engine.network.blobnet import NetworkConfig, build_network, weights_of
from engine.network.precision import choose_dtype
from engine.search.compilation import compile_kernels
from engine.search.lanes import SearchConfig, temperature_table
from engine.selfplay.search_thread import SearchThread
from engine.selfplay.stacks import StackWatch
from engine.selfplay.worker import PlayOrder, SelfPlayWorker, WorkerSpec

LANES = 64
SLICES = 40
SLICE_SECONDS = 0.5
LIMIT = 0.005
"""Of a batch's time."""


@pytest.fixture
def worker() -> Any:
    """One that plays with the default network, in this process."""
    network = build_network(NetworkConfig(), "cpu")
    dtype = choose_dtype(network, "cpu")
    spec = WorkerSpec(worker=0, device="cpu", network=NetworkConfig(), dtype=dtype, threads=1)
    compile_kernels()
    made = SelfPlayWorker(spec, weights_of(network), lambda message: None)
    made.play(PlayOrder(SearchConfig(), temperature_table(None, 5), LANES, endless=True))
    made.take_games(range(1_000_000))
    sleep(2.0)
    yield made
    made.pause()
    made.watch.stop()


def evaluations_per_second(search: SearchThread) -> float:
    tally = search.groups[0].tally[0]
    start, before = monotonic(), int(tally["evaluations"])
    sleep(SLICE_SECONDS)
    return float(int(tally["evaluations"]) - before) / (monotonic() - start)


def seconds_each(action: Callable[[], object], times: int) -> float:
    start = thread_time()
    for _ in range(times):
        action()
    return (thread_time() - start) / times


@pytest.mark.proof
def test_the_watch_beside_the_same_twice(
    benchmark: BenchmarkFixture, worker: SelfPlayWorker
) -> None:
    """Directly: CPU seconds of its thread; and slices with it and without, in turn."""
    search = worker.searches[0]
    worker.watch.stop()
    watches: list[StackWatch] = []
    rates: dict[str, list[float]] = {"without": [], "with": [], "without again": []}

    def turn() -> None:
        rates["without"].append(evaluations_per_second(search))
        watch = StackWatch(worker._waited_for)
        watch.start()
        rates["with"].append(evaluations_per_second(search))
        watch.stop()
        watches.append(watch)
        rates["without again"].append(evaluations_per_second(search))

    benchmark.pedantic(turn, rounds=SLICES // 2, warmup_rounds=1)
    slow = median(w / a for w, a in zip(rates["with"], rates["without"], strict=True))
    same = median(b / a for b, a in zip(rates["without again"], rates["without"], strict=True))
    direct = sum(watch.cpu_seconds for watch in watches) / (len(watches) * SLICE_SECONDS)
    benchmark.extra_info.update(
        cpu_of_a_core=round(direct, 5), rate_with=round(slow, 4), rate_without_again=round(same, 4)
    )
    print(f"\nwatch {direct:.3%} of a core; rate with ÷ without {slow:.4f}, A/A {same:.4f}")
    assert direct < LIMIT


@pytest.mark.proof
def test_telemetry_of_a_batch(benchmark: BenchmarkFixture, worker: SelfPlayWorker) -> None:
    """What a step does for telemetry alone, timed on its own beside the step's mean time."""
    worker.pause()
    search = worker.searches[0]
    batches = int(search.groups[0].tally["batches"][0])
    step_seconds = search.active / batches

    def of_a_step() -> None:
        search.batches[(191).bit_length()] += 1
        for _ in range(4):
            search.doing = "work"
            search.doing = "python"
        _ = search.modes is None

    def of_a_report() -> None:
        search.new_deals()
        _ = {1 << k: n for k, n in enumerate(search.batches) if n}
        worker.watch.seconds.copy()

    steps_a_report = 0.2 / step_seconds
    cost = benchmark.pedantic(seconds_each, (of_a_step, 100_000))
    cost += seconds_each(of_a_report, 10_000) / steps_a_report
    benchmark.extra_info["share"] = cost / step_seconds
    print(f"\n{1e6 * cost:.2f} µs of {1e3 * step_seconds:.2f} ms: {cost / step_seconds:.4%}")
    assert cost / step_seconds < LIMIT
