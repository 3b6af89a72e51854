"""One search thread of a worker: it keeps its groups of lanes' batches full.

On the CPU a thread has one group of lanes; on CUDA two, which alternate: one is searched while the
other's batch is on the GPU.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING, Any

import torch

from engine.network.devices import memory_reserved
from engine.network.evaluator import Evaluator
from engine.search.batches import batch_rows, new_batch
from engine.search.examples import Examples, join_examples
from engine.search.gather import gather
from engine.search.lanes import Group, grant, new_group, open_midway, take_output
from engine.search.scatter import scatter
from engine.selfplay.telemetry import deal_hash, modes_of_calls, sum_tallies
from engine.selfplay.worker_layout import groups_on
from engine.selfplay.worker_messages import CallModes, ThreadProgress

if TYPE_CHECKING:
    from engine.selfplay.worker import PlayOrder, SelfPlayWorker

REPORT_SECONDS = 0.2
IDLE_SECONDS = 0.002


class SearchThread:
    """The groups of lanes of one thread, and its loop.

    `doing` says what the thread is at: parked, work (in a kernel, in the network, or waiting for
    the device), idle (no game to play) or python (everything else).
    """

    def __init__(self, worker: SelfPlayWorker, thread: int, lanes: int, order: PlayOrder) -> None:
        self.worker, self.thread, self.search = worker, thread, order.search
        self.groups: list[Group] = []
        self.evaluators: list[Evaluator] = []
        count = min(lanes, groups_on(worker.device))
        # A CUDA graph repeats the calls it was captured from: their modes are recorded here.
        with modes_of_calls() as modes:
            for g in range(count):
                self._add_group(lanes // count + (g < lanes % count), order)
        self.modes: CallModes | None = modes if modes.seen else None
        self.rows = [0] * count
        """Rows of each group's batch that are at the network."""
        self.batches = [0] * 64
        """Batches by the bits of (rows - 1): entry k counts those of 2^(k - 1) < rows ≤ 2^k."""
        self.deals_seen = [0] * count
        self.games_seen = [0] * count
        self.finished: list[tuple[int, int]] = []
        """(game, its evaluations) of the games finished since the last report."""
        self.examples: list[Examples] = []
        """Examples of those games."""
        self.seconds = dict.fromkeys(("select", "expand", "wait", "idle"), 0.0)
        self.began = perf_counter()
        """Start of the current call of `play`."""
        self.active = 0.0
        """Seconds in `play`, finished calls only."""
        self.going = False
        self.ident = 0
        """The thread's identifier, once it runs."""
        self.doing = "parked"
        self.turns: SimpleQueue[bool] = SimpleQueue()
        """True: play until `going` is cleared; False: end the thread."""
        self.parked = threading.Event()
        self.parked.set()
        self.reported = monotonic()

    def _add_group(self, lanes: int, order: PlayOrder) -> None:
        worker, search = self.worker, order.search
        rows = batch_rows(lanes, search.determinizations * search.leaves)
        batch = worker.spec.injection.room(new_batch(rows, pinned=worker.device.type == "cuda"))
        group = new_group(search, lanes, order.temperatures, batch)
        if order.endless:
            open_midway(group, search)
        self.groups.append(group)
        self.evaluators.append(
            Evaluator(worker.inference, batch.states, batch.answers, worker.graphs)
        )

    def run(self) -> None:
        """Play on True in `turns`, park in between, return on False.

        The thread lives as long as its lanes, since CUDA keeps a workspace for every new thread.
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
        """Step until `going` is cleared; the lanes keep their games for the next call."""
        self.began = perf_counter()
        self.report()  # marks the start of this stretch of work
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
        """Wait a moment for games to play."""
        self.doing, start = "idle", perf_counter()
        sleep(IDLE_SECONDS)
        self.seconds["idle"] += perf_counter() - start
        self.doing = "python"

    def step(self, g: int) -> bool:
        """Take group g's answers, search on, submit its next batch; False if that is empty."""
        self.collect(g)
        group = self.groups[g]
        self.take_grants(group)
        rows = self.timed("select", gather, group, self.search)
        self.take_finished(g)
        if rows:
            self.batches[(rows - 1).bit_length()] += 1
            group.tally["computed"][0] += self.submit(g, rows)
        self.rows[g] = rows
        return rows > 0

    def submit(self, g: int, rows: int) -> int:
        """Submit group g's batch to the network, recording the modes of the first call.

        Returns the number of rows computed.
        """
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
        """Grant the group a waiting game for each of its lanes without one."""
        wanted = len(group.lanes.lane) - int(group.grants_made[0] - group.tally["games"][0])
        games: list[int] = []
        try:
            while len(games) < wanted:
                games.append(self.worker.waiting.popleft())
        except IndexError:
            pass
        if games:
            grant(group, games)

    def take_finished(self, g: int) -> None:
        """Take group g's newly finished games and their examples, for the next report."""
        group = self.groups[g]
        games = int(group.tally["games"][0])
        ring = group.finished
        for n in range(self.games_seen[g], games):
            game, evaluations = ring[n % len(ring)].tolist()
            self.finished.append((game, evaluations))
        self.games_seen[g] = games
        # At every step, not at every report: a lane waits while the output is full, and games
        # must repeat exactly whenever reports are due.
        if group.output_used[0]:
            self.examples.append(take_output(group))

    def timed(self, stage: str, function: Callable, *arguments: object) -> Any:
        """Call `function` and add its seconds to `stage`."""
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
        """Hashes of those of the groups' first deals that no report has had yet."""
        hashes: list[str] = []
        for g, group in enumerate(self.groups):
            dealt = group.deals[: int(group.tally["grants_used"][0])]
            hashes += [deal_hash(game) for game in dealt[self.deals_seen[g] :]]
            self.deals_seen[g] = len(dealt)
        return tuple(hashes)

    def report(self) -> None:
        """Send the counters, and the games finished since the last report with their examples."""
        self.worker.send_progress(
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
