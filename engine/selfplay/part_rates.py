"""Rates of a worker's parts alone: the network, the search, matrix products.

Each runs in as many threads as the worker searches with, and only while the worker is paused, so
that its cores and its device are free.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from time import perf_counter

import torch
from torch import Tensor

from engine.game.encoding import STATE_DIM
from engine.network.blobnet import FoldedLinear
from engine.network.evaluator import NetworkGraph
from engine.search.batches import batch_rows, new_batch
from engine.search.gather import gather
from engine.search.lanes import grant, new_group, open_midway, take_output
from engine.search.scatter import scatter
from engine.selfplay.worker import SelfPlayWorker

Call = Callable[[], Tensor]
Prepare = Callable[[torch.cuda.Stream | None], Call]
"""Returns the call that a thread repeats; takes the CUDA stream it runs on, else None."""


def measure_network(worker: SelfPlayWorker, rows: int, seconds: float) -> float:
    """Evaluations per second of the bare network, all threads together.

    Evaluates batches of `rows` positions that are on the device already: no copies, no search. On
    CUDA the faster of eager and graphed calls, each measured for `seconds`.
    """
    network = worker.inference
    dtype = network.embedding.weight.dtype
    states = torch.zeros(rows, STATE_DIM, device=worker.device, dtype=dtype)
    rate = _rate_of_calls(worker, lambda stream: lambda: network(states), rows, seconds)
    if worker.device.type == "cuda" and worker.graphs:
        rate = max(rate, _rate_of_calls(worker, _graphed(worker, rows), rows, seconds))
    return rate


def _graphed(worker: SelfPlayWorker, rows: int) -> Prepare:
    def prepare(stream: torch.cuda.Stream | None) -> Call:
        assert stream is not None
        graph = NetworkGraph(worker.inference, rows, stream)

        def call() -> Tensor:
            graph.replay()
            return graph.answers

        return call

    return prepare


def measure_trees(worker: SelfPlayWorker, lanes: int, seconds: float) -> float:
    """Evaluations per second of the last order's search alone, all threads together.

    Each thread has `lanes` games in progress; the network's answers are zeros and cost nothing.
    Raises RuntimeError when the worker has had no order.
    """
    if worker.order is None:
        raise RuntimeError("no search to measure: the worker has had no order")
    order = worker.order

    def loop() -> float:
        batch = new_batch(batch_rows(lanes, order.search.determinizations), pinned=False)
        group = new_group(order.search, lanes, order.temperatures, batch)
        open_midway(group, order.search)
        tally = group.tally[0]
        done, start = 0, perf_counter()
        while perf_counter() < start + seconds:
            missing = lanes - int(group.grants_made[0] - tally["games"])
            grant(group, range(int(group.grants_made[0]), int(group.grants_made[0]) + missing))
            scatter(group, order.search, gather(group, order.search))
            if group.output_used[0] > len(group.output.game) // 2:
                take_output(group)
            if not done and tally["settled"] == lanes:  # warm-up ends: start to measure
                done, start = int(tally["evaluations"]), perf_counter()
        return (int(tally["evaluations"]) - done) / (perf_counter() - start)

    return _in_threads(worker, loop)


def measure_multiply(worker: SelfPlayWorker, size: int, seconds: float) -> float:
    """Floating-point operations per second of `size` × `size` products, all threads together.

    Uses the network's own layer, whose fastest form differs between CPUs.
    """
    with torch.device(worker.device):
        layer = FoldedLinear(size, size).to(worker.inference.embedding.weight.dtype)
        matrix = torch.zeros(size, size, dtype=layer.weight.dtype)
    layer.pack()
    return _rate_of_calls(worker, lambda stream: lambda: layer(matrix), 2 * size**3, seconds)


def _rate_of_calls(
    worker: SelfPlayWorker, prepare: Prepare, amount: float, seconds: float
) -> float:
    """Repeat the prepared call in every thread for `seconds`; each call counts `amount`.

    Returns the amount per second, all threads together.
    """
    on_cuda = worker.device.type == "cuda"

    @torch.inference_mode()
    def loop() -> float:
        # A stream per thread, as in self-play.
        stream = torch.cuda.Stream(worker.device) if on_cuda else None
        call = prepare(stream)
        with torch.cuda.stream(stream) if on_cuda else nullcontext():
            call()[:1].cpu()
            done, start = 0.0, perf_counter()
            while perf_counter() < start + seconds:
                call()[:1].cpu()  # waits for the device, as a search would
                done += amount
        return done / (perf_counter() - start)

    return _in_threads(worker, loop)


def _in_threads(worker: SelfPlayWorker, loop: Callable[[], float]) -> float:
    """Run `loop` in as many threads as the worker searches with; returns the sum."""
    threads = worker.spec.threads
    with ThreadPoolExecutor(threads, "bare", torch.set_num_threads, (1,)) as pool:
        return sum(future.result() for future in [pool.submit(loop) for _ in range(threads)])
