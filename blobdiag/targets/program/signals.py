"""Signals that would end us while a command runs: they are for the command, and reach it once.

A terminal signals every process of its job, and so does `kill -- -GROUP`: the command, which is in
our process group, has its own then. `kill PID` signals us alone, and must be passed on. The kernel
does not tell which it was, so there is a witness: another process of our group that has nothing
to do with the command (the sampler), and tells us which it gets.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
"""Who sends one of these wants the command to end."""

TAKEN = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)

WITNESSED: dict[int, int] = {number: signal.SIGRTMIN + 1 + k for k, number in enumerate(TAKEN)}
"""What the witness sends for each: signals that nothing else here has a use for."""

WITNESS_SECONDS = 0.3
"""The two copies of a signal come so close together."""


def name_of(number: int) -> str:
    """'SIGKILL' of 9; 'signal 35' of a real-time one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def be_witness() -> None:
    """Let this process, a child of blobdiag's, survive these signals and tell of them."""

    def tell(number: int, frame: FrameType | None) -> None:
        os.kill(os.getppid(), WITNESSED[number])

    for number in TAKEN:
        signal.signal(number, tell)
    # A process may be started with some of them blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)


class Signals:
    """Takes signals inside `taken`, and tells which are to be passed on."""

    def __init__(self) -> None:
        self.came: list[int] = []
        """All of them."""
        self._unsettled: list[tuple[float, int]] = []
        self._witnessed: dict[int, float] = {}
        self._woken, self._wake = -1, -1

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Inside, they end nothing here, and any signal ends a `wait`.

        What was ignored before, as under nohup, is left so, here and in the command.
        """
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before_fd = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            number: self._take for number in TAKEN if signal.getsignal(number) is not signal.SIG_IGN
        }
        handlers[signal.SIGCHLD] = lambda number, frame: None
        for number in WITNESSED.values():
            signal.signal(number, self._witness)
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            # One that is late would end us.
            for number in WITNESSED.values():
                signal.signal(number, signal.SIG_IGN)
            signal.set_wakeup_fd(before_fd)
            os.close(self._woken)
            os.close(self._wake)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a signal comes, that of a child's end included."""
        if self._unsettled:
            settled_at = self._unsettled[0][0] + WITNESS_SECONDS
            seconds = min(seconds, settled_at - monotonic())
        if select.select([self._woken], [], [], max(0.0, seconds))[0]:
            os.read(self._woken, 4096)

    def to_pass_on(self) -> list[int]:
        """Signals that came to us alone, as far as that is settled by now; each is told once."""
        now = monotonic()
        alone = [number for at, number in self._unsettled if now - at >= WITNESS_SECONDS]
        self._unsettled = [one for one in self._unsettled if now - one[0] < WITNESS_SECONDS]
        return alone

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.came.append(number)
        now = monotonic()
        if now - self._witnessed.get(number, float("-inf")) > WITNESS_SECONDS:
            self._unsettled.append((now, number))

    def _witness(self, witnessed: int, frame: FrameType | None) -> None:
        number = next(taken for taken, sent in WITNESSED.items() if sent == witnessed)
        self._witnessed[number] = monotonic()
        self._unsettled = [one for one in self._unsettled if one[1] != number]
