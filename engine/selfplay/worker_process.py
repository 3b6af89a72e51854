"""A worker in a process of its own: what it is told, what it answers, and how it ends.

Processes are spawned, never forked: CUDA and threads do not survive a fork. A worker ends when it
is told to, when its pipe closes, or when its parent is gone, however that came about. It is started
with no more than fits into a pipe, and its weights follow: a process that dies while it imports
would leave the one that starts it waiting for ever.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from time import monotonic
from types import ModuleType
from typing import Literal, NamedTuple

from engine.network.blobnet import Weights
from engine.network.evaluator import compile_kernels
from engine.selfplay.measuring import measure_multiply, measure_network, measure_trees
from engine.selfplay.telemetry import ThreadProgress, WorkerError, WorkerStatus
from engine.selfplay.worker import PlayOrder, SelfPlayWorker, WorkerSpec

SPAWN = multiprocessing.get_context("spawn")
CHECK_SECONDS = 0.1
DUMP_SECONDS = 0.05
"""Stacks that pause for so long are all there."""
RELEASE_SECONDS = 10.0


class Play(NamedTuple):
    """Start on a new order with empty lanes; None: go on with the lanes as they are."""

    order: PlayOrder | None


class Grant(NamedTuple):
    """Games to be played, behind those granted before."""

    games: tuple[int, ...]


class Pause(NamedTuple):
    """Stop after the step at hand; answered by Paused once all counters are sent."""


class Paused(NamedTuple):
    pid: int


class Measure(NamedTuple):
    """Run the bare network, the search alone, or matrix products; only while paused.

    Answered by Measured.
    """

    what: Literal["network", "trees", "multiply"]
    size: int
    """Rows of a batch, lanes of a thread, or rows of a square matrix."""
    seconds: float


class Measured(NamedTuple):
    """Evaluations, or floating-point operations, per second in one worker."""

    pid: int
    rate: float


class Stop(NamedTuple):
    """End the process."""


class UpdateWeights(NamedTuple):
    """Load these weights in place; answered by a new Handshake."""

    weights: Weights
    version: int
    """How often the engine has replaced its weights."""


def worker_main(connection: Connection, spec: WorkerSpec, stacks: Connection) -> None:
    """The process: it takes its weights, sends a handshake, and obeys orders until Stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    _dump_stacks_on_request(stacks)
    lock = threading.Lock()

    def send(message: object) -> None:
        with lock:
            connection.send(message)

    try:
        worker = SelfPlayWorker(spec, connection.recv(), send)
        if spec.device != "meta":
            compile_kernels()  # loaded here, not in the first step of self-play
        send(worker.handshake())
        _obey(connection, worker)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent closed the pipe: nobody is left to tell
    except BaseException:
        send(WorkerError(spec.worker, os.getpid(), traceback.format_exc()))
        os._exit(1)
    # Search threads may be in the middle of a step: nothing they hold needs an orderly end.
    os._exit(0)


def _obey(connection: Connection, worker: SelfPlayWorker) -> None:
    """Carry out orders up to Stop; raises a search thread's error, EOFError if the pipe closes."""
    while True:
        if worker.error is not None:
            raise worker.error
        if not connection.poll(CHECK_SECONDS):
            continue
        order = connection.recv()
        if isinstance(order, Grant):
            worker.take_games(order.games)
        elif isinstance(order, Play):
            worker.play(order.order)
        elif isinstance(order, Pause):
            worker.pause()
            worker.send(Paused(os.getpid()))
        elif isinstance(order, Measure):
            measure = {
                "network": measure_network,
                "trees": measure_trees,
                "multiply": measure_multiply,
            }[order.what]
            worker.send(Measured(os.getpid(), measure(worker, order.size, order.seconds)))
        elif isinstance(order, Stop):
            return
        elif isinstance(order, UpdateWeights):
            worker.update_weights(order.weights, order.version)
            worker.send(worker.handshake())


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Start a process that does not run the parent's main module again.

    Spawned processes do, for what it defines; a worker is sent nothing of it, and without a main
    guard it would start an engine of its own.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes with Ctrl-C blocked, until they can ignore it; the parent's is only late."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started with the first process, it would unblock the signal (CPython, ensure_running).
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _dump_stacks_on_request(stacks: Connection) -> None:
    """Let SIGUSR1 write all threads' Python stacks into a pipe, where the system has it."""
    if hasattr(faulthandler, "register"):
        # Nobody may be reading: what finds no room is left out, not waited for.
        os.set_blocking(stacks.fileno(), False)
        faulthandler.register(signal.SIGUSR1, file=stacks.fileno(), all_threads=True)


class WorkerProcess:
    """The parent's side of one worker process.

    Threads of its own read and write the pipe: a worker that is stopped in the middle of a message,
    or does not read, must not hold up the others. Messages go to `inbox` with this object. Make it
    inside `without_interrupts`, up to where it is kept: who is interrupted must know it to end it.
    """

    def __init__(self, spec: WorkerSpec, weights: Weights, inbox: Inbox) -> None:
        self.spec = spec
        self.connection, theirs = SPAWN.Pipe()
        self._stacks, their_stacks = SPAWN.Pipe(duplex=False)
        self.process = SPAWN.Process(
            target=worker_main,
            args=(theirs, spec, their_stacks),
            name=f"blob-worker-{spec.worker}",
            daemon=True,
        )
        with _without_main_module():
            self.process.start()
        theirs.close()
        their_stacks.close()
        self.pid = self.process.pid or 0
        self.status: WorkerStatus | None = None
        """None until the handshake."""
        self.in_flight: dict[int, None] = {}
        """Games granted and not finished, oldest first."""
        self.moved = monotonic()
        """When it last was seen to have taken a step, or had nothing to do."""
        self.batches = 0
        """Batches it was last seen to have made, of all orders."""
        self.error: str | None = None
        """The traceback it sent before it ended."""
        self._inbox, self._outbox = inbox, SimpleQueue[object]()
        self._reader = threading.Thread(target=self._read, name="worker-reader", daemon=True)
        self._reader.start()
        self._writer = threading.Thread(target=self._write, name="worker-writer", daemon=True)
        self._writer.start()
        self._released = False
        self.send(weights)

    def begin_order(self) -> None:
        """A new order: lanes are made anew, nothing is in flight."""
        self.in_flight.clear()
        if self.status is not None:
            self.status.begin_order()

    def grant(self, games: list[int]) -> None:
        """Send it games to play, behind those granted before."""
        if not self.in_flight:
            self.moved = monotonic()
        self.in_flight.update(dict.fromkeys(games))
        self.send(Grant(tuple(games)))

    def take(self, message: ThreadProgress) -> list[int]:
        """Take in a search thread's message; the games it finished that were still in flight.

        A game that was granted again may be finished twice: the second time it is in no list.
        """
        assert self.status is not None
        self.status.take(message)
        finished = [game for game, _ in message.finished if game in self.in_flight]
        for game in finished:
            del self.in_flight[game]
        batches = int(self.status.tally["batches"])
        if batches > self.batches or not self.in_flight:
            self.batches, self.moved = batches, monotonic()
        return finished

    def send(self, order: object) -> None:
        """Send an order, behind those sent before. One that comes too late is dropped."""
        self._outbox.put(order)

    def _read(self) -> None:
        try:
            while True:
                self._inbox.put((self, self.connection.recv()))
        except (EOFError, OSError):
            pass  # the process is gone, and a broken last message with it

    def _write(self) -> None:
        try:
            while not isinstance(order := self._outbox.get(), Stop):
                self.connection.send(order)
            self.connection.send(order)
        except OSError:
            pass  # the process is gone: whoever keeps it sees that

    def dump_stacks(self, seconds: float = 1.0) -> str:
        """The Python stacks of all its threads, even if it was stopped; a reason if none came."""
        if not hasattr(signal, "SIGUSR1"):
            return "stacks cannot be taken on this system"
        try:
            os.kill(self.pid, signal.SIGUSR1)
            # A stopped process takes the signal only once it is continued.
            os.kill(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            return "the process ended before its stacks could be taken"
        text = b""
        while self._stacks.poll(DUMP_SECONDS if text else seconds):
            if not (more := os.read(self._stacks.fileno(), 65536)):
                break  # it ended
            text += more
        if text:
            return text.decode(errors="replace")
        return "the process did not answer the request for its stacks"

    def kill(self) -> None:
        """End the process at once; all that it sent is in the inbox afterwards."""
        self.process.kill()
        self.stop(RELEASE_SECONDS)

    def stop(self, seconds: float = 3.0) -> None:
        """Let it end by itself, kill it if it does not, and take back what it held.

        Again: nothing.
        """
        if self._released:
            return
        self.send(Stop())
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(RELEASE_SECONDS)
        for thread in (self._reader, self._writer):
            thread.join(RELEASE_SECONDS)
        self._released = True
        if self.process.exitcode is not None:  # else it is stuck in a driver: the system's to end
            self.process.close()
            self.connection.close()
            self._stacks.close()


Inbox = SimpleQueue[tuple[WorkerProcess, object]]
