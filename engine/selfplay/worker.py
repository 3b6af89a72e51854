"""One worker: a network on one device, and the threads that keep its batches full.

Each search thread owns its groups of lanes. On the CPU a thread has one group; on CUDA two, which
alternate: one is searched while the other's batch is on the GPU.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import monotonic, perf_counter, sleep
from typing import Any, NamedTuple

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
from engine.network.devices import device_uuid, memory_reserved
from engine.network.evaluator import Evaluator
from engine.search.batches import batch_rows, new_batch
from engine.search.examples import Examples, join_examples
from engine.search.gather import gather
from engine.search.lanes import Group, SearchConfig, grant, new_group, open_midway, take_output
from engine.search.scatter import scatter
from engine.selfplay.faults import HEALTHY, Injection
from engine.selfplay.stacks import StackWatch
from engine.selfplay.telemetry import (
    CallModes,
    Handshake,
    ThreadProgress,
    deal_hash,
    modes_of_calls,
    sum_tallies,
)

REPORT_SECONDS = 0.2
IDLE_SECONDS = 0.002


class WorkerSpec(NamedTuple):
    """All a worker needs to start: the device is part of it, not an argument to forget."""

    worker: int
    device: str
    network: NetworkConfig
    dtype: str
    """float32 or bfloat16."""
    threads: int
    graphs: bool = True
    """On CUDA: the network as one launch, not a launch a kernel."""
    weights_version: int = 0
    """How often the engine had replaced the weights that it is started with."""
    injection: Injection = HEALTHY


class PlayOrder(NamedTuple):
    """What to play; the games themselves are granted one by one."""

    search: SearchConfig
    temperatures: NDArray[np.float64]
    lanes: int
    """Games in progress a worker, all threads together."""
    endless: bool
    """Whether games are granted until the player has had enough; lanes then open midway."""


def groups_on(device: torch.device) -> int:
    """Groups of lanes a thread: two on CUDA, so that one is searched while the other waits."""
    return 2 if device.type == "cuda" else 1


class SearchThread:
    """The groups of lanes of one thread, and its loop."""

    def __init__(self, worker: SelfPlayWorker, thread: int, lanes: int, order: PlayOrder) -> None:
        self.worker, self.thread, self.search = worker, thread, order.search
        on_cuda = worker.device.type == "cuda"
        self.groups: list[Group] = []
        self.evaluators: list[Evaluator] = []
        count = min(lanes, groups_on(worker.device))
        for g in range(count):
            share = lanes // count + (g < lanes % count)
            trees_each = order.search.determinizations * order.search.leaves
            batch = worker.spec.injection.room(
                new_batch(batch_rows(share, trees_each), pinned=on_cuda)
            )
            group = new_group(order.search, share, order.temperatures, batch)
            self.groups.append(group)
            # A CUDA graph repeats the calls it was made of: they are looked into here.
            with modes_of_calls() as modes:
                self.evaluators.append(
                    Evaluator(worker.inference, batch.states, batch.answers, worker.graphs)
                )
            if order.endless:
                open_midway(group, order.search)
        self.rows = [0] * count
        self.batches = [0] * 64
        """By the bits of (rows - 1): batches of 2^(k - 1) < rows ≤ 2^k."""
        self.modes: CallModes | None = modes if modes.seen else None
        self.deals_seen = [0] * count
        self.games_seen = [0] * count
        self.finished: list[tuple[int, int]] = []
        self.examples: list[Examples] = []
        """Of the games finished since the last report."""
        self.seconds = dict.fromkeys(("select", "expand", "wait", "idle"), 0.0)
        self.began = perf_counter()
        self.going = False
        self.ident = 0
        """Of the thread, once it runs."""
        self.doing = "parked"
        """parked, work (in a kernel, the network, or waiting for it), idle or python."""
        self.turns: SimpleQueue[bool] = SimpleQueue()
        """True: play until `going` is cleared; False: end."""
        self.parked = threading.Event()
        self.parked.set()
        self.active = 0.0
        """Seconds in `play`, finished calls only; `began` is when the one under way did."""
        self.reported = monotonic()

    def run(self) -> None:
        """Play when it is its turn, park between turns, until the lanes are given up.

        The thread lives as long as its lanes: CUDA keeps a workspace for each new one.
        """
        self.ident = threading.get_ident()
        torch.set_num_threads(self.worker.spec.injection.intra_op_threads)
        if self.worker.device.type == "cuda":
            torch.cuda.set_device(self.worker.device)
        while self.turns.get():
            self.doing = "python"
            self.play()
            self.doing = "parked"
            self.parked.set()

    def play(self) -> None:
        """Step until `going` is cleared; lanes keep their games for the next call."""
        self.began = perf_counter()
        self.report()  # a stamp from which this stretch of work is counted
        while self.going:
            busy = [self.step(g) for g in range(len(self.groups))]
            idle = not any(busy)
            if monotonic() - self.reported >= REPORT_SECONDS or (idle and self.finished):
                self.report()
            if idle:
                self.idle()
        for g in range(len(self.groups)):
            self.collect(g)
        self.report()
        self.active += perf_counter() - self.began

    def idle(self) -> None:
        """Wait a moment for games to come."""
        self.doing, start = "idle", perf_counter()
        sleep(IDLE_SECONDS)
        self.seconds["idle"] += perf_counter() - start
        self.doing = "python"

    def step(self, g: int) -> bool:
        """Take group g's answers, search on, hand in its next batch; False when it has none."""
        self.collect(g)
        group = self.groups[g]
        self.take_grants(group)
        rows = self.timed("select", gather, group, self.search)
        self.note_finished(g)
        if rows:
            self.batches[(rows - 1).bit_length()] += 1
            group.tally["computed"][0] += self.submit(g, rows)
        self.rows[g] = rows
        return rows > 0

    def submit(self, g: int, rows: int) -> int:
        """Hand group g's batch to the network; the first one is looked into."""
        self.doing = "work"
        if self.modes is None:
            with modes_of_calls() as self.modes:
                computed = self.evaluators[g].submit(rows)
        else:
            computed = self.evaluators[g].submit(rows)
        self.doing = "python"
        return computed

    def collect(self, g: int) -> None:
        """Wait for group g's answers, if any are due, and take them into its trees."""
        if self.rows[g]:
            self.timed("wait", self.evaluators[g].wait)
            self.timed("expand", scatter, self.groups[g], self.search, self.rows[g])
            self.rows[g] = 0

    def take_grants(self, group: Group) -> None:
        """Move as many waiting games into the group as it has lanes without one."""
        wanted = len(group.lanes.lane) - int(group.grants_made[0] - group.tally["games"][0])
        games: list[int] = []
        try:
            while len(games) < wanted:
                games.append(self.worker.waiting.popleft())
        except IndexError:
            pass
        if games:
            grant(group, games)

    def note_finished(self, g: int) -> None:
        group = self.groups[g]
        games = int(group.tally["games"][0])
        ring = group.finished
        for n in range(self.games_seen[g], games):
            game, evaluations = ring[n % len(ring)].tolist()
            self.finished.append((game, evaluations))
        self.games_seen[g] = games
        # Emptied at every step, not when it is reported: a lane whose examples find no room waits,
        # and games must repeat exactly whenever that is.
        if group.output_used[0]:
            self.examples.append(take_output(group))

    def timed(self, stage: str, function: Callable, *arguments: object) -> Any:
        self.doing, start = "work", perf_counter()
        result = function(*arguments)
        self.seconds[stage] += perf_counter() - start
        self.doing = "python"
        return result

    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage since the thread's lanes were made; see ThreadProgress."""
        seconds = dict(self.seconds)
        for evaluator in self.evaluators:
            for stage, spent in evaluator.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        seconds["python"] = self.active + perf_counter() - self.began - sum(seconds.values())
        return seconds

    def new_deals(self) -> tuple[str, ...]:
        """Hashes of the groups' first deals, those that no report has told yet."""
        hashes: list[str] = []
        for g, group in enumerate(self.groups):
            dealt = group.deals[: int(group.tally["grants_used"][0])]
            hashes += [deal_hash(game) for game in dealt[self.deals_seen[g] :]]
            self.deals_seen[g] = len(dealt)
        return tuple(hashes)

    def report(self) -> None:
        """Send counters, the games finished since the last report, and their examples."""
        self.worker.tell(
            ThreadProgress(
                worker=self.worker.spec.worker,
                pid=os.getpid(),
                thread=self.thread,
                time=monotonic(),
                tally=sum_tallies(group.tally[0] for group in self.groups),
                stage_seconds=self.stage_seconds(),
                finished=tuple(self.finished),
                examples=join_examples(self.examples),
                batches={1 << k: n for k, n in enumerate(self.batches) if n},
                deals=self.new_deals(),
                modes=self.modes,
                holds=self.worker.watch.seconds.copy(),
                watch_cpu_seconds=self.worker.watch.cpu_seconds,
                gpu_memory_mib=memory_reserved(self.worker.device),
            )
        )
        self.finished.clear()
        self.examples.clear()
        self.reported = monotonic()


class SelfPlayWorker:
    """Self-play on one device, in this process.

    `send` is called from the search threads with each ThreadProgress; it must be thread-safe.
    Raises what torch raises when the device is not there.
    """

    def __init__(self, spec: WorkerSpec, weights: Weights, send: Callable[[object], None]) -> None:
        injection = spec.injection
        torch.set_num_threads(injection.intra_op_threads)
        device = injection.device(spec.device)
        if device.startswith("cuda"):
            torch.cuda.set_device(device)  # else each launch switches devices, and back
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
        self.order: PlayOrder | None = None
        self.searches: list[SearchThread] = []
        self.graphs = spec.graphs and not injection.needs_gradients
        self.watch = StackWatch(self._held)
        self.error: BaseException | None = None

    @torch.inference_mode()
    def handshake(self) -> Handshake:
        """Where the network really is, read from its parameters and from a first output."""
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
        """Take new weights in place. Only while paused."""
        if self.spec.injection.keeps_weights(self.spec.worker):
            return
        load_weights(self.network, weights)
        self.inference.refold(self.network)
        self.weights_version = version

    def take_games(self, games: Sequence[int]) -> None:
        """Play these games, behind those taken before."""
        self.waiting.extend(self.renumbering.play_as(games) if self.renumbering else games)

    def tell(self, progress: ThreadProgress) -> None:
        """Send a search thread's message."""
        self.send(self.renumbering.as_granted(progress) if self.renumbering else progress)

    def _held(self) -> list[tuple[int, str]]:
        """Search threads that keep the device waiting: for games, or by their own Python."""
        return [(s.ident, "self-play") for s in self.searches if s.doing in ("idle", "python")]

    def play(self, order: PlayOrder | None) -> None:
        """Start the search threads: on a new order with empty lanes, or on with the old ones."""
        self.pause()
        self.watch.start()
        if order is not None:
            for search in self.searches:
                search.turns.put(False)
            self.waiting.clear()
            self.order = order
            threads = min(self.spec.threads, order.lanes)
            self.searches = [
                SearchThread(
                    self, thread, order.lanes // threads + (thread < order.lanes % threads), order
                )
                for thread in range(threads)
            ]
            for search in self.searches:
                name = f"search-{search.thread}"
                threading.Thread(target=self._run, args=(search,), name=name, daemon=True).start()
        for search in self.searches:
            search.parked.clear()
            search.going = True
            search.turns.put(True)

    def _run(self, search: SearchThread) -> None:
        try:
            search.run()
        except BaseException as error:
            # Raised again where orders are taken; `pause` must not wait for this thread.
            self.error = error
            search.parked.set()

    def pause(self) -> None:
        """Park the search threads after their step; every lane keeps its game."""
        for search in self.searches:
            search.going = False
        for search in self.searches:
            search.parked.wait()
