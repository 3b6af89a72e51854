"""The process of another project's engine, with all that it starts: held, let go on, and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from multiprocessing.connection import Pipe
from pathlib import Path
from time import monotonic
from typing import Any

import psutil  # type: ignore[import-untyped]

from blobdiag.model.errors import UserError
from blobdiag.sampling.signal_mask import blocked

HOST = Path(__file__).with_name("host.py")
# As `python -c`: what the engine spawns runs no main module again. -P: nothing of the user's is
# found before Python's own, until the host has imported what it needs.
START = (sys.executable, "-P", "-c", "import runpy, sys; runpy.run_path(sys.argv.pop(1), "
         "run_name='__engine__')", str(HOST))  # fmt: skip

KEEPER = Path(__file__).with_name("orphan_guard.py")
# -I -S: none of the user's modules, nothing counted in it.
KEEP = (sys.executable, "-I", "-S", str(KEEPER))

POLL_SECONDS = 0.1
SCAN_SECONDS = 0.5
"""Between two looks at what the engine has started."""
CLOSE_SECONDS = 5.0
"""For the engine to end by itself, once asked."""
OUTPUT_SECONDS = 0.2
"""For the last that a failed engine printed to come through."""
MOST_OUTPUT = 20_000
"""Characters kept of the last that it printed."""


class EngineFailed(RuntimeError):
    """The engine raised, died or stood still; the message is one line."""

    def __init__(self, line: str, details: str = "") -> None:
        super().__init__(line)
        self.details = details


class EngineProcess:
    """An engine in a process of its own, in a session of its own."""

    def __init__(
        self,
        reference: str,
        arguments: dict[str, Any],
        needed: list[str],
        environment: dict[str, str],
    ) -> None:
        """Start it; `needed` are the methods without which it is refused."""
        self._connection, theirs = Pipe()
        options = {
            "descriptor": theirs.fileno(),
            "reference": reference,
            "arguments": arguments,
            "needed": needed,
        }
        self._process = subprocess.Popen(
            [*START, json.dumps(options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self.pid = self._process.pid
        self.seen: dict[int, psutil.Process] = {self.pid: psutil.Process(self.pid)}
        """Every process of the engine there ever was, by PID."""
        try:
            self._keeper, word = _keeper(self.pid)
        except BaseException:
            self._process.kill()
            raise
        self._word: int | None = word
        """Where to tell the keeper that all went well; None once it was told."""
        self._output = b""
        self._drain = threading.Thread(target=self._keep_output, daemon=True)
        self._drain.start()
        self._scanned = 0.0
        self._answers = True
        """Whether it is worth asking to end."""

    # -- talking ------------------------------------------------------------------------------

    def send(self, order: str) -> None:
        """Raises EngineFailed where nobody is there to take it."""
        try:
            self._connection.send(order)
        except OSError:
            raise self._died() from None

    def receive(self, patience: float, what: str) -> tuple[Any, ...]:
        """The next message; `what` says what it has not done where none comes for so long.

        Raises EngineFailed, UserError for an engine that cannot be made.
        """
        deadline = monotonic() + patience
        while not self._connection.poll(POLL_SECONDS):
            self.scan()
            if self._process.poll() is not None and not self._connection.poll():
                raise self._died()
            if monotonic() > deadline:
                raise self._failed(f"the engine {what} for {patience:g} s")
        try:
            message: tuple[Any, ...] = self._connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if message[0] == "refused":
            raise UserError(f"--engine: {message[1]}")
        if message[0] == "failed":
            raise self._failed(f"the engine failed: {message[1]}", message[2])
        return message

    def _died(self) -> EngineFailed:
        try:
            code = self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            return self._failed("the engine does not answer any more")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return self._failed(f"the engine's process ended unasked ({how})")

    def _failed(self, line: str, details: str = "") -> EngineFailed:
        """With the last that was printed."""
        self._answers = False
        self._drain.join(OUTPUT_SECONDS)
        printed = self._output.decode(errors="replace").strip()
        return EngineFailed(line, details + (f"\nIt last printed:\n{printed}" if printed else ""))

    def _keep_output(self) -> None:
        """The thread: an engine may print as much as it likes, and fills no pipe and no memory."""
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._output = (self._output + chunk)[-MOST_OUTPUT:]

    # -- its processes ------------------------------------------------------------------------

    def scan(self) -> None:
        """Look for what the engine has started, now and then."""
        if monotonic() - self._scanned >= SCAN_SECONDS:
            self._look()

    def _look(self) -> list[psutil.Process]:
        """The engine's processes that are new: of its sessions, and children of any of them."""
        self._scanned = monotonic()
        new = []
        for process in psutil.process_iter():  # by PID: nearly always a parent before its child
            if self.seen.get(process.pid) != process and self._is_ours(process):
                self.seen[process.pid] = process
                new.append(process)
        return new

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) in self.seen or process.ppid() in self.seen
        except (OSError, psutil.Error):
            return False

    def _alive(self) -> list[psutil.Process]:
        return [process for process in self.seen.values() if _runs(process)]

    def hold(self) -> None:
        """Stop the engine and all it has started, wherever they are; until `let_go`."""
        _signal(self._alive(), signal.SIGSTOP)
        while new := self._look():
            _signal(new, signal.SIGSTOP)

    def let_go(self) -> None:
        """Have it go on."""
        _signal(self._alive(), signal.SIGCONT)

    def end(self) -> None:
        """Ask the engine to end, and after some seconds end all that is left of it; repeatable."""
        try:
            self.let_go()
            self._ask()
        finally:
            with blocked(signal.SIGINT, signal.SIGTERM):
                self.hold()
                _signal(self._alive(), signal.SIGKILL)
                self._process.wait()
                self._connection.close()
                self._dismiss()

    def _dismiss(self) -> None:
        """There is nothing left to keep."""
        if self._word is None:
            return
        try:
            os.write(self._word, b".")
        except BrokenPipeError:
            pass  # somebody has ended it
        finally:
            os.close(self._word)
            self._word = None
            self._keeper.wait()

    def _ask(self) -> None:
        """It may be at play, and tell of games first."""
        if not self._answers:
            return
        deadline = monotonic() + CLOSE_SECONDS
        try:
            self.send("close")
            while self.receive(max(0.0, deadline - monotonic()), "did not end")[0] != "closed":
                continue
            self._process.wait(max(0.0, deadline - monotonic()))
        except (EngineFailed, UserError, subprocess.TimeoutExpired):
            return  # it is ended all the same


def _keeper(session: int) -> tuple[subprocess.Popen[bytes], int]:
    """What ends the session if this process is killed, and where to tell it that all went well."""
    theirs, ours = os.pipe()
    keeper = subprocess.Popen(
        [*KEEP, str(theirs), str(session)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[theirs],
        start_new_session=True,
    )
    os.close(theirs)
    return keeper, ours


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue
