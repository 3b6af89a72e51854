"""WorkerPool: worker processes are started, given orders, listened to, and replaced on failure.

A worker's games in flight are only numbers here: when it fails, they are given back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal

from engine.network.blobnet import Weights, weights_hash
from engine.selfplay.spawning import without_interrupts
from engine.selfplay.telemetry import EngineEvent, WorkerStatus
from engine.selfplay.worker import PlayOrder, WorkerSpec
from engine.selfplay.worker_messages import (
    Handshake,
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
from engine.selfplay.worker_process import Inbox, WorkerProcess

POLL_SECONDS = 0.1
START_SECONDS = 120.0

TakeProgress = Callable[[ThreadProgress, list[int]], None]
"""Called with a search thread's message and those of its finished games that were in flight."""
GiveBack = Callable[[list[int]], None]
"""Called with the games that a failed worker had in flight, oldest first."""


class WorkerFailed(RuntimeError):
    """Workers failed repeatedly; the message says which, and how."""


class DeviceMismatch(RuntimeError):
    """A worker's network is not on the device asked for; the message lists all workers."""

    def __init__(self, handshakes: list[Handshake]) -> None:
        rows = [
            f"  worker {h.worker} (pid {h.pid}): asked {h.device_asked}, parameters on "
            f"{', '.join(h.parameter_devices)}, output on {h.output_device}"
            for h in handshakes
        ]
        super().__init__("the device did not reach every worker:\n" + "\n".join(rows))
        self.handshakes = handshakes


class WorkerPool:
    """One process for each of `specs`, from `start` to `close`.

    A worker that has games and takes no step for `stall_seconds` is killed. A worker that was
    killed or died is replaced by a new one with the newest weights and order. Every method that
    waits may call `take_progress` and `give_back`, and raises WorkerFailed when failures repeat.
    """

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        weights: Weights,
        stall_seconds: float,
        take_progress: TakeProgress,
        give_back: GiveBack,
    ) -> None:
        self.specs = specs
        self.weights = weights
        self.weights_hash = weights_hash(weights)
        self.weights_version = 0
        """How often the weights were replaced."""
        self.workers: list[WorkerProcess] = []
        self.order: PlayOrder | None = None
        """The newest order."""
        self.at_work = False
        """Whether the workers have an order to play or to measure."""
        self.events: list[EngineEvent] = []
        self._stall_seconds = stall_seconds
        self._take_progress, self._give_back = take_progress, give_back
        self._ended: list[WorkerStatus] = []
        self._stalled_games: set[int] = set()
        self._stalled_workers: set[int] = set()
        """Numbers of the workers that stalled during the current order."""
        self._replaced: set[int] = set()
        """Numbers of the replaced workers that have finished no game since."""
        self._inbox: Inbox = SimpleQueue()
        self._paused: set[int] = set()
        """PIDs that have answered the last Pause."""
        self._rates: dict[int, float] = {}
        """Answers to the last Measure, by PID."""

    @property
    def handshakes(self) -> list[Handshake]:
        return [w.status.handshake for w in self.workers if w.status is not None]

    @property
    def statuses(self) -> list[WorkerStatus]:
        """Statuses of all workers ever started, the ended ones first."""
        # While `close` runs, or after it was interrupted, a worker can be in both lists.
        current = [w.status for w in self.workers if w.status is not None]
        return self._ended + [status for status in current if status.state == "running"]

    def weights_age(self, pid: int) -> int | None:
        """How many weights are newer than those a worker plays with; None: no such worker."""
        for handshake in self.handshakes:
            if handshake.pid == pid:
                return self.weights_version - handshake.weights_version
        return None

    # -- from start to close ------------------------------------------------------------------

    def start(self, *, refuse_mismatch: bool = True) -> list[Handshake]:
        """Start the workers and wait for every handshake; no-op when they run.

        Raises DeviceMismatch, with the workers ended, unless `refuse_mismatch` is False;
        WorkerFailed when a worker does not start.
        """
        if not self.workers:
            try:
                for spec in self.specs:
                    self._spawn(spec)
                self._await_handshakes(START_SECONDS)
                if refuse_mismatch and not all(h.on_its_device for h in self.handshakes):
                    raise DeviceMismatch(self.handshakes)
            except BaseException:
                self.close()
                raise
        return self.handshakes

    def _spawn(self, spec: WorkerSpec) -> WorkerProcess:
        with without_interrupts():
            spec = spec._replace(weights_version=self.weights_version)
            self.workers.append(WorkerProcess(spec, self.weights, self._inbox))
        return self.workers[-1]

    def _await_handshakes(self, seconds: float) -> None:
        deadline = monotonic() + seconds
        while any(worker.status is None for worker in self.workers):
            # Checked before listening, so that all messages of a dead worker are taken in first.
            dead = [w for w in self.workers if not w.process.is_alive()]
            self._listen()
            for worker in dead:
                if worker.status is None:
                    code = worker.process.exitcode
                    cause = _cause(worker) or f"exit code {code}, its error is on stderr"
                    name = f"worker {worker.spec.worker}"
                    raise WorkerFailed(f"{name} died before its handshake: {cause}")
            if monotonic() > deadline:
                raise WorkerFailed(f"no handshake from every worker within {seconds:.0f} s")

    def close(self) -> None:
        """End all workers; their statuses stay available."""
        for worker in self.workers:
            if worker.status is not None and worker.status.state == "running":
                self._ended.append(worker.status)
                worker.status.state = "finished"
            worker.send(Stop())  # to all first, so that they end in parallel
        while self.workers:
            self.workers[-1].stop()
            self.workers.pop()

    # -- orders -------------------------------------------------------------------------------

    def begin(self, order: PlayOrder) -> None:
        """Pause, then start every worker on a new order with empty lanes and no games in flight."""
        self.pause()
        self.order = order
        self._stalled_workers.clear()
        for worker in self.workers:
            worker.begin_order()
        self._send_all(Play(order))

    def go_on(self) -> None:
        """Resume every worker after a pause, with its lanes as they are."""
        self._send_all(Play(None))

    def pause(self) -> None:
        """Stop every worker after its current step and take in all its results."""
        asked = [worker for worker in self.workers if worker.status is not None]
        self._paused.clear()
        for worker in asked:
            worker.moved = monotonic()
            worker.send(Pause())
        while silent := [w for w in asked if w in self.workers and w.pid not in self._paused]:
            self._listen()
            self._replace_lost()
            for worker in silent:
                if worker in self.workers and worker.pid not in self._paused:
                    self._end_if_stalled(worker)

    def poll(self) -> None:
        """Take in messages, waiting up to POLL_SECONDS for one, and replace failed workers."""
        self._listen()
        self._replace_lost()
        self._end_stalled()

    def update_weights(self, weights: Weights) -> None:
        """Pause and give every worker these weights; the hash of each is checked.

        Raises WorkerFailed when a worker does not report that hash within START_SECONDS.
        """
        self.weights = weights
        self.weights_hash = weights_hash(weights)
        self.weights_version += 1
        self.pause()
        for worker in self.workers:
            worker.send(UpdateWeights(self.weights, self.weights_version))
        deadline = monotonic() + START_SECONDS
        while stale := [w.spec.worker for w in self.workers if not self._is_fresh(w)]:
            self._listen()
            self._replace_lost()
            if monotonic() > deadline:
                raise WorkerFailed(f"workers {stale} did not take the newest weights")

    def _is_fresh(self, worker: WorkerProcess) -> bool:
        if worker.spec.injection.keeps_weights(worker.spec.worker):
            return True
        status = worker.status
        return status is not None and status.handshake.weights_hash == self.weights_hash

    def measure(self, order: Measure) -> float:
        """Pause, have all workers measure at the same time, and return the sum of their rates.

        Raises WorkerFailed when a worker does not answer.
        """
        self.pause()
        self._rates.clear()
        self._send_all(order)
        asked = {worker.pid for worker in self.workers}
        deadline = monotonic() + order.seconds + START_SECONDS
        with self.working():
            while asked - self._rates.keys():
                self._listen()
                self._replace_lost()
                if monotonic() > deadline or asked - {worker.pid for worker in self.workers}:
                    raise WorkerFailed("a worker did not answer a measurement")
        return sum(self._rates.values())

    @contextmanager
    def working(self) -> Iterator[None]:
        """Set `at_work` for the body."""
        self.at_work = True
        try:
            yield
        finally:
            self.at_work = False

    def _send_all(self, order: object) -> None:
        for worker in self.workers:
            worker.moved = monotonic()
            worker.send(order)

    # -- messages -----------------------------------------------------------------------------

    def _listen(self) -> None:
        """Take in all messages, waiting up to POLL_SECONDS for the first."""
        timeout = POLL_SECONDS
        try:
            while True:
                worker, message = self._inbox.get(timeout=timeout)
                timeout = 0.0
                self._take(worker, message)
        except Empty:
            return

    def _take(self, worker: WorkerProcess, message: object) -> None:
        if isinstance(message, Handshake):
            if worker.status is None:
                worker.status = WorkerStatus(message)
            else:
                worker.status.handshake = message
        elif isinstance(message, Paused):
            self._paused.add(message.pid)
        elif isinstance(message, WorkerError):
            self._event(
                "worker-error", f"worker {message.worker} (pid {message.pid}): {message.error}"
            )
            worker.error = message.error
            if worker.status is not None:
                worker.status.stacks = message.error
        elif isinstance(message, Measured):
            self._rates[message.pid] = message.rate
        elif isinstance(message, ThreadProgress):
            finished = worker.take(message)
            if finished:
                self._replaced.discard(worker.spec.worker)
            self._take_progress(message, finished)

    def _event(self, kind: str, text: str) -> None:
        self.events.append(EngineEvent(monotonic(), kind, text))

    # -- failures -----------------------------------------------------------------------------

    def _replace_lost(self) -> None:
        """Start a new worker for each that died."""
        for worker in list(self.workers):
            if not worker.process.is_alive():
                code = worker.process.exitcode
                self._replace(worker, "lost", f"ended unexpectedly (exit code {code})")

    def _end_stalled(self) -> None:
        """Kill and replace workers that have games and take no step.

        Raises WorkerFailed for a worker that sends no handshake.
        """
        for worker in list(self.workers):
            if worker.status is None:
                if monotonic() - worker.moved > START_SECONDS:
                    raise WorkerFailed(f"worker {worker.spec.worker} sent no handshake")
            elif worker.in_flight:
                self._end_if_stalled(worker)

    def _end_if_stalled(self, worker: WorkerProcess) -> None:
        """Kill and replace a worker without progress for `stall_seconds`, keeping its stacks."""
        idle = monotonic() - worker.moved
        if idle < self._stall_seconds or worker.status is None:
            return
        worker.status.stacks = worker.dump_stacks()
        number, games = worker.spec.worker, worker.in_flight.keys()
        again = number in self._stalled_workers or bool(games & self._stalled_games)
        self._stalled_workers.add(number)
        self._stalled_games |= games
        self._replace(worker, "stalled", f"took no step for {idle:.1f} s")
        if again:
            raise WorkerFailed(
                f"worker {number}, or games it had, stalled a second time; see its stacks"
            )

    def _replace(self, worker: WorkerProcess, state: Literal["lost", "stalled"], why: str) -> None:
        name = f"worker {worker.spec.worker} (pid {worker.pid})"
        worker.kill()
        self._listen()  # its last messages: games it finished need not be played again
        games = list(worker.in_flight)
        worker.in_flight.clear()
        self.workers.remove(worker)
        if worker.status is not None:
            worker.status.state = state
            self._ended.append(worker.status)
        if cause := _cause(worker):
            why += f" ({cause})"
        self._event(f"worker-{state}", f"{name} {why}; {len(games)} games are granted again")
        if worker.spec.worker in self._replaced and state == "lost":
            raise WorkerFailed(f"{name} {why}: its second failure without a finished game between")
        self._replaced.add(worker.spec.worker)
        self._give_back(games)
        fresh = self._spawn(worker.spec)
        if self.order is not None:
            fresh.send(Play(self.order))


def _cause(worker: WorkerProcess) -> str:
    """Last line of the traceback a worker sent before it ended; empty if it sent none."""
    return worker.error.strip().splitlines()[-1] if worker.error else ""
