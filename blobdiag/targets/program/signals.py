"""Signals that would end blobdiag while a command runs: each must reach the command exactly once.

A terminal signals every process of its job, and so does `kill -- -GROUP`: the command, which is in
our process group, has received its own copy then. `kill PID` signals blobdiag alone, and must be
forwarded. The kernel does not say which it was, so a second process of the group, the sampler,
echoes every signal it receives to blobdiag: a signal with an echo went to the whole group.
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
"""Whoever sends one of these wants the command to end."""

HANDLED = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)

ECHOES: dict[int, int] = {number: signal.SIGRTMIN + 1 + k for k, number in enumerate(HANDLED)}
"""The echo of each: signals that nothing else here uses."""

ECHO_SECONDS = 0.3
"""A signal and its echo arrive at most so far apart."""


def echo_signals() -> None:
    """Let this process, a child of blobdiag's, survive these signals and echo them to blobdiag."""

    def echo(number: int, frame: FrameType | None) -> None:
        os.kill(os.getppid(), ECHOES[number])

    for number in HANDLED:
        signal.signal(number, echo)
    # A process may be started with some of them blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


class Signals:
    """Handles signals inside `handled`, and says which are to be forwarded."""

    def __init__(self) -> None:
        self.received: list[int] = []
        """All of them."""
        self._without_echo: list[tuple[float, int]] = []
        self._echoed: dict[int, float] = {}
        self._wake_read, self._wake_write = -1, -1

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Inside, they end nothing here, and any signal ends a `wait`.

        What was ignored before, as under nohup, is left so, here and in the command.
        """
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before_fd = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            number: self._receive
            for number in HANDLED
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        handlers[signal.SIGCHLD] = lambda number, frame: None
        for number in ECHOES.values():
            signal.signal(number, self._receive_echo)
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            # A late echo would end us.
            for number in ECHOES.values():
                signal.signal(number, signal.SIG_IGN)
            signal.set_wakeup_fd(before_fd)
            os.close(self._wake_read)
            os.close(self._wake_write)

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a signal comes, that of a child's exit included."""
        if self._without_echo:
            decided_at = self._without_echo[0][0] + ECHO_SECONDS
            seconds = min(seconds, decided_at - monotonic())
        if select.select([self._wake_read], [], [], max(0.0, seconds))[0]:
            os.read(self._wake_read, 4096)

    def take_to_forward(self) -> list[int]:
        """Signals that came to blobdiag alone, as far as that is decided by now; each once."""
        now = monotonic()
        alone = [number for at, number in self._without_echo if now - at >= ECHO_SECONDS]
        self._without_echo = [one for one in self._without_echo if now - one[0] < ECHO_SECONDS]
        return alone

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        now = monotonic()
        # The echo may come first.
        if now - self._echoed.get(number, float("-inf")) > ECHO_SECONDS:
            self._without_echo.append((now, number))

    def _receive_echo(self, echo: int, frame: FrameType | None) -> None:
        number = next(handled for handled, sent in ECHOES.items() if sent == echo)
        self._echoed[number] = monotonic()
        self._without_echo = [one for one in self._without_echo if one[1] != number]
