"""Runs batches of positions through the network: states in, answers out, in the caller's arrays."""

from __future__ import annotations

import threading
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.game.encoding import STATE_DIM
from engine.network.blobnet import InferenceNet

PAD = 16
"""Computed rows are a multiple of this: few shapes, and none of the slow kernels of tiny ones."""

WARM_UP_CALLS = 3


def padded(rows: int) -> int:
    """`rows` rounded up to a multiple of PAD."""
    return -(-rows // PAD) * PAD


class Evaluator:
    """Evaluates the batches of one group of lanes, on the network's device.

    Args:
      network: in eval mode, on the device and in the dtype to compute in.
      states: [B, STATE_DIM] read at every `submit`; page-locked for asynchronous copies to CUDA.
      answers: [B, ANSWERS] written by `wait` at the latest.
      graphs: on CUDA, one launch of a CUDA graph that always computes all B rows; else one launch
        per kernel, for the filled rows.

    On CUDA the copies and kernels run on a stream of their own and `submit` returns at once, so
    that the thread can search another group's trees meanwhile.
    """

    def __init__(
        self,
        network: InferenceNet,
        states: NDArray[np.float32],
        answers: NDArray[np.float32],
        graphs: bool = True,
    ) -> None:
        weight = network.embedding.weight
        self.network = network
        self.device, self.dtype = weight.device, weight.dtype
        self.states, self.answers = torch.from_numpy(states), torch.from_numpy(answers)
        self.seconds = {"copy": 0.0, "network": 0.0}
        """Seconds spent so far; on CUDA those of the launches alone."""
        self.on_cuda = self.device.type == "cuda"
        if self.on_cuda:
            self.stream = torch.cuda.Stream(self.device)
            self.done = torch.cuda.Event(blocking=True)
            self.graph = NetworkGraph(network, len(states), self.stream) if graphs else None

    @torch.inference_mode()
    def submit(self, rows: int) -> int:
        """Start to evaluate rows 0..rows-1 of the states; returns the number of rows computed.

        `rows` rounded up to PAD must not exceed B.
        """
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
        self._add_seconds(start, copied, evaluated)

    def _evaluate(self, rows: int) -> None:
        start = perf_counter()
        states: Tensor = self.states[:rows].to(self.device, self.dtype, non_blocking=True)
        copied = perf_counter()
        answers = self.network(states)
        evaluated = perf_counter()
        self.answers[:rows].copy_(answers, non_blocking=True)
        self._add_seconds(start, copied, evaluated)

    def _add_seconds(self, start: float, copied: float, evaluated: float) -> None:
        self.seconds["network"] += evaluated - copied
        self.seconds["copy"] += copied - start + perf_counter() - evaluated

    def wait(self) -> None:
        """Return once the answers of the last `submit` are in `answers`."""
        if self.on_cuda:
            self.done.synchronize()


_CAPTURING = threading.Lock()


class NetworkGraph:
    """The network at one batch size, captured as a CUDA graph: a replay is one launch.

    `states` [rows, STATE_DIM] float32 is read and `answers` [rows, ANSWERS] float32 written, both
    on the device. Weights are read in place, so a replay uses weights that were refolded in place.
    Raises what torch raises when the network cannot be captured.
    """

    @torch.inference_mode()
    def __init__(self, network: InferenceNet, rows: int, stream: torch.cuda.Stream) -> None:
        weight = network.embedding.weight
        self.states = torch.zeros(rows, STATE_DIM, device=weight.device)
        self._graph = torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream(weight.device))
        # Libraries allocate their workspaces in the first calls, which cannot be captured.
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                network(self.states.to(weight.dtype))
        stream.synchronize()
        # One capture at a time; thread_local: other threads may use their streams meanwhile.
        with (
            _CAPTURING,
            torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"),
        ):
            self.answers: Tensor = network(self.states.to(weight.dtype)).float()

    def replay(self) -> None:
        """Compute `answers` from `states`, on the current stream."""
        self._graph.replay()
