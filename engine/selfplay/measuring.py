"""What a worker's network, search and matrix products do alone, each in as many threads as search.

Only while the worker is paused: its threads and its device are then free.
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
"""Makes a thread's call, given the stream it will be made on (CUDA; else None)."""


def measure_network(worker: SelfPlayWorker, rows: int, seconds: float) -> float:
    """Evaluations per second of the bare network.

    Batches of `rows` positions that lie on the device already: no copies, no search. On CUDA
    the better of eager and graphed, each measured for so long.
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
    """Evaluations per second of the search alone.

    Of `lanes` games in progress a thread, whose network is indifferent and costs nothing.
    Raises RuntimeError when the worker has had no order.
    """
    if worker.order is None:
        raise RuntimeError("the search to measure is the last order's, and there was none")
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
            if not done and tally["settled"] == lanes:  # the rest is measured
                done, start = int(tally["evaluations"]), perf_counter()
        return (int(tally["evaluations"]) - done) / (perf_counter() - start)

    return _in_threads(worker, loop)


def measure_multiply(worker: SelfPlayWorker, size: int, seconds: float) -> float:
    """Floating-point operations per second of products of matrices of `size` rows and columns.

    By the network's own layer: what multiplies fastest differs between CPUs.
    """
    with torch.device(worker.device):
        layer = FoldedLinear(size, size).to(worker.inference.embedding.weight.dtype)
        matrix = torch.zeros(size, size, dtype=layer.weight.dtype)
    layer.pack()
    return _rate_of_calls(worker, lambda stream: lambda: layer(matrix), 2 * size**3, seconds)


def _rate_of_calls(
    worker: SelfPlayWorker, prepare: Prepare, amount: float, seconds: float
) -> float:
    """Call over and over in every thread; `amount` a call, per second, all together."""
    on_cuda = worker.device.type == "cuda"

    @torch.inference_mode()
    def loop() -> float:
        # A stream of its own, as a search thread has.
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
    """The sum of what `loop` returns in as many threads as search."""
    threads = worker.spec.threads
    with ThreadPoolExecutor(threads, "bare", torch.set_num_threads, (1,)) as pool:
        return sum(future.result() for future in [pool.submit(loop) for _ in range(threads)])
