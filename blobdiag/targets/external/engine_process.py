"""The process of another project's engine, with all that it starts: talked to, suspended, ended."""

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

ENGINE_MAIN = Path(__file__).with_name("engine_main.py")
# As `python -c`: what the engine spawns runs no main module again. -P: nothing of the user's is
# found before Python's own, until ENGINE_MAIN has imported what it needs.
ENGINE_COMMAND = (sys.executable, "-P", "-c", "import runpy, sys; runpy.run_path(sys.argv.pop(1), "
                  "run_name='__engine__')", str(ENGINE_MAIN))  # fmt: skip

ORPHAN_GUARD = Path(__file__).with_name("orphan_guard.py")
# -I -S: none of the user's modules, nothing counted in it.
GUARD_COMMAND = (sys.executable, "-I", "-S", str(ORPHAN_GUARD))

POLL_SECONDS = 0.1
SCAN_SECONDS = 0.5
"""Between two scans for what the engine has started."""
CLOSE_SECONDS = 5.0
"""For the engine to exit by itself, once asked."""
TRACKER_SECONDS = 2.0
"""For multiprocessing's resource tracker to clean up, once all others have been killed."""
OUTPUT_SECONDS = 0.2
"""For the last output of a failed engine to come through."""
MOST_OUTPUT = 20_000
"""Characters kept of the last output."""


class EngineFailed(RuntimeError):
    """The engine raised, died or made no progress; the message is one line."""

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
            "parent": os.getpid(),
            "reference": reference,
            "arguments": arguments,
            "needed": needed,
        }
        self._process = subprocess.Popen(
            [*ENGINE_COMMAND, json.dumps(options)],
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
            self._guard: _OrphanGuard | None = _OrphanGuard(self.pid)
        except BaseException:
            self._process.kill()
            raise
        self._output = b""
        self._drain = threading.Thread(target=self._drain_output, daemon=True)
        self._drain.start()
        self._scanned = 0.0
        self._answers = True
        """Whether it is worth asking to exit."""

    # -- messages -----------------------------------------------------------------------------

    def send(self, order: str) -> None:
        """Raises EngineFailed where the process is gone."""
        try:
            self._connection.send(order)
        except OSError:
            raise self._died() from None

    def receive(self, timeout: float, what: str) -> tuple[Any, ...]:
        """The next message; `what` says what the engine has not done where it times out.

        Raises EngineFailed, UserError for an engine that cannot be made.
        """
        deadline = monotonic() + timeout
        while not self._connection.poll(POLL_SECONDS):
            self.scan()
            if self._process.poll() is not None and not self._connection.poll():
                raise self._died()
            if monotonic() > deadline:
                raise self._failed(f"the engine {what} for {timeout:g} s")
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
            return self._failed("the engine closed its connection and still runs")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return self._failed(f"the engine's process exited unexpectedly ({how})")

    def _failed(self, line: str, details: str = "") -> EngineFailed:
        """With the last output."""
        self._answers = False
        self._drain.join(OUTPUT_SECONDS)
        output = self._output.decode(errors="replace").strip()
        return EngineFailed(line, details + (f"\nIts last output:\n{output}" if output else ""))

    def _drain_output(self) -> None:
        """The thread: an engine may print as much as it likes, and fills no pipe and no memory."""
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._output = (self._output + chunk)[-MOST_OUTPUT:]

    # -- its processes ------------------------------------------------------------------------

    def scan(self) -> None:
        """Find what the engine has started, at most every SCAN_SECONDS."""
        if monotonic() - self._scanned >= SCAN_SECONDS:
            self._find_new()

    def _find_new(self) -> list[psutil.Process]:
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

    def suspend(self) -> None:
        """Stop the engine and all it has started, wherever they are; until `resume`."""
        _signal(self._alive(), signal.SIGSTOP)
        while new := self._find_new():
            _signal(new, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue all of them."""
        _signal(self._alive(), signal.SIGCONT)

    def close(self) -> None:
        """Ask the engine to exit, and after some seconds kill what is left of it; repeatable."""
        try:
            self.resume()
            self._ask_to_exit()
        finally:
            with blocked(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self.suspend()
                self._kill_all()
                self._connection.close()
                if self._guard is not None:
                    self._guard.dismiss()
                    self._guard = None

    def _kill_all(self) -> None:
        """Kill what is left; multiprocessing's tracker ends by itself, once it has cleaned up.

        It removes the shared memory and the semaphores of those that could not.
        """
        alive = self._alive()
        trackers = [process for process in alive if _is_tracker(process)]
        _signal((process for process in alive if process not in trackers), signal.SIGKILL)
        self._process.wait()
        _signal(trackers, signal.SIGCONT)
        _, left = psutil.wait_procs(trackers, timeout=TRACKER_SECONDS)
        _signal(left, signal.SIGKILL)

    def _ask_to_exit(self) -> None:
        """It may be at play, and send finished games first."""
        if not self._answers:
            return
        deadline = monotonic() + CLOSE_SECONDS
        try:
            self.send("close")
            while self.receive(max(0.0, deadline - monotonic()), "did not exit")[0] != "closed":
                continue
            self._process.wait(max(0.0, deadline - monotonic()))
        except (EngineFailed, UserError, subprocess.TimeoutExpired):
            return  # it is killed


class _OrphanGuard:
    """The process that kills a session if this process is killed; see orphan_guard.py."""

    def __init__(self, session: int) -> None:
        theirs, self._pipe = os.pipe()
        self._process = subprocess.Popen(
            [*GUARD_COMMAND, str(theirs), str(session)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs],
            start_new_session=True,
        )
        os.close(theirs)

    def dismiss(self) -> None:
        """The session has ended in order: nothing is left to guard."""
        try:
            os.write(self._pipe, b".")
        except BrokenPipeError:
            pass  # it was killed
        finally:
            os.close(self._pipe)
            self._process.wait()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any("multiprocessing.resource_tracker" in text for text in process.cmdline())
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue
