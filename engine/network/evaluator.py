"""The network as the lanes see it: a batch goes in, its answers come back in place."""

from __future__ import annotations

import threading
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from engine.game.encoding import STATE_DIM
from engine.network.blobnet import ANSWERS, InferenceNet
from engine.search.lanes import (
    ROW,
    Batch,
    SearchConfig,
    gather,
    grant,
    new_group,
    scatter,
    temperature_table,
)

PAD = 16
"""Rows are computed in multiples of this: few shapes, and never the odd kernels of tiny ones."""

WARM_UP_CALLS = 3

FULL_SHARE = 0.75
"""Of all trees: fewer than these that wait for the network at once are rare (measured: 0.82)."""


def padded(rows: int) -> int:
    """Rows that are computed for so many."""
    return -(-rows // PAD) * PAD


def batch_rows(lanes: int, determinizations: int) -> int:
    """Rows of a batch that so many lanes keep full: some of their trees are always done."""
    return max(determinizations, int(lanes * determinizations * FULL_SHARE) // PAD * PAD)


def new_batch(rows: int, pinned: bool) -> Batch:
    """Room for `rows` positions, rounded up to PAD; page-locked where the GPU copies from it."""
    rows = padded(rows)

    def zeros(*shape: int) -> np.ndarray:
        return torch.zeros(shape, pin_memory=pinned).numpy()

    return Batch(
        rows=np.zeros(rows, ROW),
        states=zeros(rows, STATE_DIM),
        answers=zeros(rows, ANSWERS),
    )


class Evaluator:
    """Runs one group's batches through the network, wherever the network is.

    On CUDA the copies and kernels go to a stream of their own, and `submit` returns at once, so
    that the thread can search another group's trees meanwhile. With `graphs` the network is one
    launch there, always of the whole batch; else a launch a kernel, of the rows that are filled.
    """

    def __init__(self, network: InferenceNet, batch: Batch, graphs: bool = True) -> None:
        weight = network.embedding.weight
        self.network = network
        self.device, self.dtype = weight.device, weight.dtype
        full = padded(len(batch.rows))
        self.states = torch.from_numpy(batch.states)[:full]
        self.answers = torch.from_numpy(batch.answers)[:full]
        self.seconds = {"copy": 0.0, "network": 0.0}
        """Seconds spent so far; on CUDA those of the launch."""
        self.on_cuda = self.device.type == "cuda"
        if self.on_cuda:
            self.stream = torch.cuda.Stream(self.device)
            self.done = torch.cuda.Event(blocking=True)
            self.graph = NetworkGraph(network, len(self.states), self.stream) if graphs else None

    @torch.inference_mode()
    def submit(self, rows: int) -> int:
        """Start the evaluation of rows 0..rows-1 of the batch; how many are computed."""
        rows = padded(rows)
        if not self.on_cuda:
            self._evaluate(rows)
            return rows
        with torch.cuda.stream(self.stream):
            if self.graph is not None:
                rows = len(self.states)
                self._replay(self.graph)
            else:
                self._evaluate(rows)
            self.done.record(self.stream)
        return rows

    def _replay(self, graph: NetworkGraph) -> None:
        start = perf_counter()
        graph.states.copy_(self.states, non_blocking=True)
        copied = perf_counter()
        graph.replay()
        evaluated = perf_counter()
        self.answers.copy_(graph.answers, non_blocking=True)
        self._count(start, copied, evaluated)

    def _evaluate(self, rows: int) -> None:
        start = perf_counter()
        states: Tensor = self.states[:rows].to(self.device, self.dtype, non_blocking=True)
        copied = perf_counter()
        answers = self.network(states)
        evaluated = perf_counter()
        self.answers[:rows].copy_(answers, non_blocking=True)
        self._count(start, copied, evaluated)

    def _count(self, start: float, copied: float, evaluated: float) -> None:
        self.seconds["network"] += evaluated - copied
        self.seconds["copy"] += copied - start + perf_counter() - evaluated

    def wait(self) -> None:
        """Return when the answers of the last `submit` are in the batch."""
        if self.on_cuda:
            self.done.synchronize()


_CAPTURING = threading.Lock()


class NetworkGraph:
    """The network on one batch size, recorded as a CUDA graph: a replay is one launch.

    `states` [rows, STATE_DIM] float32 is read and `answers` [rows, ANSWERS] float32 written, on the
    device; weights are read where they are, so that those refolded in place are the ones used.
    Raises what torch raises when the network cannot be captured.
    """

    @torch.inference_mode()
    def __init__(self, network: InferenceNet, rows: int, stream: torch.cuda.Stream) -> None:
        weight = network.embedding.weight
        self.states = torch.zeros(rows, STATE_DIM, device=weight.device)
        self._graph = torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream(weight.device))
        # Libraries make their workspaces in the first calls, which cannot be captured.
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                network(self.states.to(weight.dtype))
        stream.synchronize()
        # One thread at a time, and without a word in what the others' streams do meanwhile.
        with (
            _CAPTURING,
            torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"),
        ):
            self.answers: Tensor = network(self.states.to(weight.dtype)).float()

    def replay(self) -> None:
        """Compute `answers` from `states`, on the current stream."""
        self._graph.replay()


def compile_kernels() -> None:
    """Compile (or load) every kernel a search thread uses, so that workers find them cached.

    Plays one small game with a network that is indifferent.
    """
    config = SearchConfig(players=3, cards=2, simulations=4)
    group = new_group(config, 1, temperature_table(None, config.cards), new_batch(PAD, False))
    grant(group, [0])
    while group.tally[0]["games"] == 0:
        scatter(group, config, gather(group, config))
