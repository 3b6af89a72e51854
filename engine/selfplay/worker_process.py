"""A worker in a process of its own: its orders, its answers, and how it ends.

A worker ends on Stop, when its pipe closes, or when its parent is gone for whatever reason. Its
start arguments fit into a pipe's buffer and the weights follow later: the parent would otherwise
wait forever for a process that dies during its imports.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from queue import SimpleQueue
from time import monotonic

from engine.network.blobnet import Weights
from engine.search.compilation import compile_kernels
from engine.selfplay.part_rates import measure_multiply, measure_network, measure_trees
from engine.selfplay.spawning import (
    SPAWN,
    dying_with_parent,
    exit_with_parent,
    ignore_interrupts,
    without_main_module,
)
from engine.selfplay.telemetry import WorkerStatus
from engine.selfplay.worker import SelfPlayWorker, WorkerSpec
from engine.selfplay.worker_messages import (
    Grant,
    Measure,
    Measured,
    Pause,
    Paused,
    Play,
    Stop,
    ThreadProgress,
    UpdateWeights,
    WorkerError,
)

CHECK_SECONDS = 0.1
"""Longest time between two looks for a search thread's error."""
DUMP_SECONDS = 0.05
"""A stack dump is complete when nothing follows for this long."""
RELEASE_SECONDS = 10.0
"""Longest wait for a killed process, and for the threads that read and write its pipe."""


MEASUREMENTS = {
    "network": measure_network,
    "trees": measure_trees,
    "multiply": measure_multiply,
}


def worker_main(connection: Connection, spec: WorkerSpec, stacks: Connection) -> None:
    """The process: receive the weights, send a handshake, carry out orders until Stop.

    `stacks` is the write end of the pipe for stack dumps.
    """
    ignore_interrupts()
    exit_with_parent()
    _dump_stacks_on_request(stacks)
    lock = threading.Lock()

    def send(message: object) -> None:
        with lock:
            connection.send(message)

    try:
        worker = SelfPlayWorker(spec, connection.recv(), send)
        if spec.device != "meta":
            compile_kernels()  # so that the first step of self-play does not wait for it
        send(worker.handshake())
        _carry_out_orders(connection, worker)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent closed the pipe
    except BaseException:
        send(WorkerError(spec.worker, os.getpid(), traceback.format_exc()))
        os._exit(1)
    # Search threads may be in the middle of a step; they hold nothing that needs cleaning up.
    os._exit(0)


def _carry_out_orders(connection: Connection, worker: SelfPlayWorker) -> None:
    """Carry out orders until Stop. Raises a search thread's error; EOFError if the pipe closes."""
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
            rate = MEASUREMENTS[order.what](worker, order.size, order.seconds)
            worker.send(Measured(os.getpid(), rate))
        elif isinstance(order, Stop):
            return
        elif isinstance(order, UpdateWeights):
            worker.update_weights(order.weights, order.version)
            worker.send(worker.handshake())


def _dump_stacks_on_request(stacks: Connection) -> None:
    """Have SIGUSR1 write all threads' Python stacks into a pipe; no-op on Windows."""
    if hasattr(faulthandler, "register"):
        # Non-blocking: the parent may not be reading, then what finds no room is dropped.
        os.set_blocking(stacks.fileno(), False)
        faulthandler.register(signal.SIGUSR1, file=stacks.fileno(), all_threads=True)


class WorkerProcess:
    """The parent's side of one worker process.

    Two threads read and write the pipe, so that a worker that is stopped in the middle of a
    message, or does not read, does not delay the others. Messages go to `inbox` together with this
    object. Construct and store it inside `without_interrupts`: an interrupt between the two would
    leave a process that cannot be ended.
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
        with without_main_module(), dying_with_parent():
            self.process.start()
        theirs.close()
        their_stacks.close()
        self.pid = self.process.pid or 0
        self.status: WorkerStatus | None = None
        """None until the handshake."""
        self.in_flight: dict[int, None] = {}
        """Games granted and not finished, oldest first; an ordered set."""
        self.moved = monotonic()
        """When it was last seen to take a step or to have no games, `time.monotonic()`."""
        self.batches = 0
        """Batches it has last reported, of all orders."""
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
        """Prepare for a new order: its lanes start empty, no game is in flight."""
        self.in_flight.clear()
        if self.status is not None:
            self.status.begin_order()

    def grant(self, games: list[int]) -> None:
        """Send it games to play, after those granted before."""
        if not self.in_flight:
            self.moved = monotonic()
        self.in_flight.update(dict.fromkeys(games))
        self.send(Grant(tuple(games)))

    def take(self, message: ThreadProgress) -> list[int]:
        """Take in a search thread's message; returns the finished games that were in flight.

        A game that was granted twice and finished twice is returned only the first time.
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
        """Send an order, after those sent before; dropped if the process is gone."""
        self._outbox.put(order)

    def _read(self) -> None:
        try:
            while True:
                self._inbox.put((self, self.connection.recv()))
        except (EOFError, OSError):
            pass  # the process is gone; its last message may be incomplete

    def _write(self) -> None:
        try:
            while not isinstance(order := self._outbox.get(), Stop):
                self.connection.send(order)
            self.connection.send(order)
        except OSError:
            pass  # the process is gone, which the pool notices

    def dump_stacks(self, seconds: float = 1.0) -> str:
        """Python stacks of all its threads, even of a stopped process; else why there are none.

        Waits up to `seconds` for them.
        """
        if not hasattr(signal, "SIGUSR1"):
            return "this system cannot dump the stacks of another process"
        try:
            os.kill(self.pid, signal.SIGUSR1)
            # A stopped process handles the signal only once it is continued.
            os.kill(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            return "the process ended before it dumped its stacks"
        text = b""
        while self._stacks.poll(DUMP_SECONDS if text else seconds):
            if not (more := os.read(self._stacks.fileno(), 65536)):
                break  # it ended
            text += more
        if text:
            return text.decode(errors="replace")
        return f"the process did not dump its stacks within {seconds:g} s"

    def kill(self) -> None:
        """Kill the process; afterwards all messages it sent are in the inbox."""
        self.process.kill()
        self.stop(RELEASE_SECONDS)

    def stop(self, seconds: float = 3.0) -> None:
        """Wait `seconds` for the process to end, then kill it; release its pipes and threads.

        A process that has sent no handshake is killed at once. No-op the second time.
        """
        if self._released:
            return
        self.send(Stop())
        if self.status is not None:  # before the handshake it would first end its imports
            self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(RELEASE_SECONDS)
        for thread in (self._reader, self._writer):
            thread.join(RELEASE_SECONDS)
        self._released = True
        if self.process.exitcode is not None:  # None: stuck in a driver call, even when killed
            self.process.close()
            self.connection.close()
            self._stacks.close()


Inbox = SimpleQueue[tuple[WorkerProcess, object]]
