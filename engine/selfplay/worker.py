"""One worker: a network on one device, and the search threads that share it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from engine.game.encoding import STATE_DIM
from engine.network.blobnet import (
    BlobNet,
    NetworkConfig,
    Weights,
    load_weights,
    weights_hash,
    weights_of,
)
from engine.network.devices import device_uuid
from engine.search.lanes import SearchConfig
from engine.selfplay.faults import HEALTHY, Injection
from engine.selfplay.search_thread import SearchThread
from engine.selfplay.stacks import StackWatch
from engine.selfplay.worker_messages import Handshake, ThreadProgress


class WorkerSpec(NamedTuple):
    """All a worker needs to start; the device is part of it, so no call can omit it."""

    worker: int
    device: str
    network: NetworkConfig
    dtype: str
    """float32 or bfloat16, of the inference network."""
    threads: int
    """Search threads."""
    graphs: bool = True
    """On CUDA: launch the network as one CUDA graph."""
    weights_version: int = 0
    """How often the engine had replaced its weights before it sent these."""
    injection: Injection = HEALTHY


class PlayOrder(NamedTuple):
    """How to play; the games themselves are granted one by one."""

    search: SearchConfig
    temperatures: NDArray[np.float64]
    """[1 + cards] by the mover's own move."""
    lanes: int
    """Games in progress of a worker, all its threads together."""
    endless: bool
    """Whether games are granted without end; each lane's first game then opens midway."""


class SelfPlayWorker:
    """Self-play on one device, in this process.

    Args:
      spec: the device, the network's shape, threads and faults.
      weights: of a BlobNet of that shape.
      send: called from the search threads with each ThreadProgress; must be thread-safe.

    Raises what torch raises when the device is not there.
    """

    def __init__(self, spec: WorkerSpec, weights: Weights, send: Callable[[object], None]) -> None:
        injection = spec.injection
        torch.set_num_threads(injection.intra_op_threads)
        device = injection.device(spec.device)
        if torch.device(device).type == "cuda":
            torch.cuda.set_device(device)  # else each launch switches devices and back
        self.spec, self.send = spec, send
        self.renumbering = injection.renumbering()
        weights = injection.first_weights(spec.worker, weights)
        self.weights_version = spec.weights_version
        self.received_hash = weights_hash(weights)
        with torch.device(device):
            self.network = BlobNet(STATE_DIM, *spec.network)
        load_weights(self.network, weights)
        self.network.eval().requires_grad_(False)
        inference = injection.inference_form(self.network)
        self.inference = inference.to(getattr(torch, spec.dtype)).pack()
        self.device = self.inference.embedding.weight.device
        self.waiting: deque[int] = deque()
        """Games granted that no search thread has taken yet."""
        self.order: PlayOrder | None = None
        self.searches: list[SearchThread] = []
        self.graphs = spec.graphs and not injection.needs_gradients
        self.watch = StackWatch(self._waited_for)
        self.error: BaseException | None = None
        """What ended a search thread."""

    @torch.inference_mode()
    def handshake(self) -> Handshake:
        """Where the network is, read from its parameters and from the output of a dummy batch."""
        dummy = torch.zeros(
            2, STATE_DIM, device=self.device, dtype=self.inference.embedding.weight.dtype
        )
        answers = self.inference(dummy)
        on_meta = self.device.type == "meta"
        return Handshake(
            worker=self.spec.worker,
            pid=os.getpid(),
            device_asked=self.spec.device,
            parameter_devices=tuple(sorted({str(p.device) for p in self.inference.parameters()})),
            output_device=str(answers.device),
            device_uuid=device_uuid(self.device),
            dtype=self.spec.dtype,
            threads=self.spec.threads,
            intra_op_threads=torch.get_num_threads(),
            weights_hash=self.received_hash if on_meta else weights_hash(weights_of(self.network)),
            weights_version=self.weights_version,
        )

    def update_weights(self, weights: Weights, version: int) -> None:
        """Load new weights in place; only while paused. `version` counts the replacements."""
        if self.spec.injection.keeps_weights(self.spec.worker):
            return
        load_weights(self.network, weights)
        self.inference.refold(self.network)
        self.weights_version = version

    def take_games(self, games: Sequence[int]) -> None:
        """Play these games, after those taken before."""
        self.waiting.extend(self.renumbering.play_as(games) if self.renumbering else games)

    def send_progress(self, progress: ThreadProgress) -> None:
        """Send a search thread's message, with the game numbers that the engine granted."""
        self.send(self.renumbering.as_granted(progress) if self.renumbering else progress)

    def _waited_for(self) -> list[tuple[int, str]]:
        """(ident, phase) of the search threads the device waits for: idle, or in Python code."""
        return [(s.ident, "self-play") for s in self.searches if s.doing in ("idle", "python")]

    def play(self, order: PlayOrder | None) -> None:
        """Start a new order with empty lanes; None: resume the last order with its lanes."""
        self.pause()
        self.watch.start()
        if order is not None:
            self._begin(order)
        for search in self.searches:
            search.parked.clear()
            search.going = True
            search.turns.put(True)

    def _begin(self, order: PlayOrder) -> None:
        """Replace the search threads and their lanes by new ones for `order`."""
        for search in self.searches:
            search.turns.put(False)
        self.waiting.clear()
        self.order = order
        threads = min(self.spec.threads, order.lanes)
        shares = [order.lanes // threads + (n < order.lanes % threads) for n in range(threads)]
        self.searches = [SearchThread(self, n, share, order) for n, share in enumerate(shares)]
        for search in self.searches:
            name = f"search-{search.thread}"
            threading.Thread(target=self._run, args=(search,), name=name, daemon=True).start()

    def _run(self, search: SearchThread) -> None:
        try:
            search.run()
        except BaseException as error:
            # The thread that takes orders raises it again; `pause` must not wait for this one.
            self.error = error
            search.parked.set()

    def pause(self) -> None:
        """Stop the search threads after their current step; every lane keeps its game."""
        for search in self.searches:
            search.going = False
        for search in self.searches:
            search.parked.wait()
