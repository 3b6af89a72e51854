"""The parent's handle of the sampler: starts it, adds what it sends to a trace, stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, NamedTuple

from blobdiag.model.machine import Gpu
from blobdiag.sampling import sampler
from blobdiag.sampling.signal_mask import blocked
from blobdiag.sampling.source import Source
from blobdiag.sampling.trace import Trace

FROM_THE_TERMINAL = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)
)
"""Signals that reach the whole process group, and that only this process answers."""

# How long stop() waits for the last batch, then after each harder request.
PATIENCE_SECONDS = 3.0

POLL_SECONDS = 1.0
"""Between two looks at whether a sampler that sends nothing still runs."""


class Cost(NamedTuple):
    """What the sampler itself used since it was ready, its start-up apart."""

    cpu_seconds: float
    wall_seconds: float

    @property
    def share(self) -> float | None:
        """Its part of one core, 0 to 1; None before the first batch."""
        return self.cpu_seconds / self.wall_seconds if self.wall_seconds else None


class Recorder:
    """Samples this machine into a trace while it is started; also a context manager.

    Metrics are named `gpu/<uuid>/utilization`, `host/cpu`, `process/<pid>/cpu`, `sampler/cpu`, …
    (see NvmlReader and HostReader). A sampler that dies is reported in `death` and never raises:
    a run without samples is still a run.
    """

    def __init__(self, trace: Trace, factory: Callable[[], Source] = sampler.MachineSource) -> None:
        """`factory` makes the source inside the sampler's process, so it must be picklable."""
        self.gpus: list[Gpu] = []
        self.gpu_reason: str | None = "the sampler was not started"
        self.driver: str | None = None
        self.death: str | None = None
        self.cost = Cost(0.0, 0.0)
        self.events: list[tuple[float, str]] = []
        """(monotonic seconds, text) of lost GPUs and vanished processes."""
        self._trace = trace
        self._factory = factory
        self._latest: dict[str, float | None] = {}
        self._ready = threading.Event()
        self._started = self._finished = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def start(self, timeout: float = 20) -> None:
        """Start the sampler and wait until it reports the GPUs it sees, at most `timeout` seconds.

        Raises RuntimeError when started again: a recorder is for one recording.
        """
        if self._started:
            raise RuntimeError("this recorder was started before")
        self._started = True
        self._connection, theirs = Pipe()
        self._process = _start_process(theirs)
        theirs.close()
        self._send(self._factory)
        self._thread = threading.Thread(target=self._receive, name="blobdiag samples", daemon=True)
        self._thread.start()
        if not self._ready.wait(timeout):
            self._end(f"the sampler was not ready within {timeout:g} s", patience=0)
        if self.death:
            self.gpu_reason = self.death

    def watch(self, pids: Iterable[int]) -> None:
        """Sample these processes too; their children are not followed."""
        self._send(set(pids))

    def latest(self, name: str) -> float | None:
        """The newest value of a metric, None while it is not known; from any thread."""
        return self._latest.get(name)

    def stop(self) -> None:
        """Take the last batch and end the sampler, by force after a few seconds; repeatable."""
        self._end("the sampler did not answer and was killed", patience=PATIENCE_SECONDS)

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _send(self, order: Callable[[], Source] | set[int] | None) -> None:
        if self._connection is None:
            return
        try:
            self._connection.send(order)
        except OSError:
            # It died, which the receiving thread reports.
            return

    def _end(self, reason: str, patience: float) -> None:
        process, thread = self._process, self._thread
        if process is None or thread is None or self._connection is None:
            return
        self._send(None)
        thread.join(patience)
        for harder in (process.terminate, process.kill):
            if thread.is_alive():
                self.death = reason
                harder()
                thread.join(PATIENCE_SECONDS)
        _wait(process)
        self._connection.close()
        self._process = self._thread = self._connection = None

    def _receive(self) -> None:
        """The thread: take messages until the last batch or the sampler's death."""
        process, connection = self._process, self._connection
        assert process is not None
        assert connection is not None
        try:
            while not self._finished:
                # The process too: a connection can outlive it in a fork of it.
                if connection.poll(POLL_SECONDS):
                    self._take(connection.recv())
                elif process.poll() is not None:
                    raise EOFError
        except (EOFError, OSError):
            # The connection of a dying process closes a little before its exit code is known.
            _wait(process)
        if not self._finished and self.death is None:
            self.death = f"the sampler exited unexpectedly: {_exit_text(process.poll())}"
        self._ready.set()

    def _take(self, message: sampler.Ready | sampler.SampleBatch | str) -> None:
        if isinstance(message, sampler.Ready):
            self.gpus, self.gpu_reason, self.driver = message
            self._ready.set()
        elif isinstance(message, sampler.SampleBatch):
            self._add(message)
        else:
            self.death = f"the sampler failed: {message}"

    def _add(self, batch: sampler.SampleBatch) -> None:
        for name, unit, time, value in batch.samples:
            self._trace.add(name, unit, time, value)
            self._latest[name] = value
        if batch.unsupported is not None:
            self._trace.unsupported = batch.unsupported
        self.events += [(monotonic(), event) for event in batch.events]
        self.cost = Cost(batch.cpu_seconds, batch.wall_seconds)
        self._finished = batch.last


def _start_process(theirs: Connection) -> subprocess.Popen[bytes]:
    """A fresh interpreter with our module path; nothing of the parent's main module runs in it."""
    inherited: dict[str, Any] = {"pass_fds": [theirs.fileno()]}
    if sys.platform == "win32":
        os.set_handle_inheritable(theirs.fileno(), True)
        inherited = {"close_fds": False}
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    # -P: the path is the parent's, without a folder of its own in front.
    numbers = [str(theirs.fileno()), str(os.getpid())]
    command = [sys.executable, "-P", "-m", "blobdiag.sampling", *numbers]
    # Until the sampler ignores Ctrl-C and a closed terminal, neither reaches it.
    with blocked(*FROM_THE_TERMINAL):
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            **inherited,
        )


def _wait(process: subprocess.Popen[bytes]) -> None:
    """For its exit, a few seconds at most."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_SECONDS)


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "without an exit code" if code is None else f"exit code {code}"
