"""SIGINT, SIGTERM, SIGHUP and time that runs out as exceptions: what is measured is kept."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGINT_EXIT = 130
TERMINATING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Whoever sends one of these wants an orderly end; SIGHUP comes from a terminal that is closed."""


class Terminated(BaseException):
    """One of TERMINATING came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.by = signal.Signals(number).name
        self.exit_code = 128 + number
        """As a shell has it: 143 for SIGTERM, 129 for SIGHUP."""


class TimedOut(BaseException):
    """The time limit was reached."""


@contextmanager
def termination_raises() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into Terminated inside; all handlers are put back afterwards.

    A SIGHUP that was ignored before, as under nohup(1), stays ignored.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *TERMINATING)}
    for number in TERMINATING:
        if number == signal.SIGTERM or before[number] is not signal.SIG_IGN:
            signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_termination() -> None:
    """From here on SIGINT, SIGTERM and SIGHUP end nothing: the report is being made."""
    for number in (signal.SIGINT, *TERMINATING):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimedOut in the main thread after `seconds` inside; None: never.

    Uses SIGALRM, which interrupts a wait as Ctrl-C does. Child processes do not inherit it.
    """
    if seconds is None:
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        lift_time_limit()
        signal.signal(signal.SIGALRM, before)


def lift_time_limit() -> None:
    """Cancel the time limit, so that it does not interrupt the shutdown."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def exit_code_of(run: Callable[[], int]) -> int:
    """Run a command that writes no report, and return its exit code.

    Ctrl-C is 130, SIGTERM 143, SIGHUP 129; an absent device, workers that failed and whatever CUDA
    raises are one line and 3.
    """
    try:
        with termination_raises():
            return run()
    except KeyboardInterrupt:
        return SIGINT_EXIT
    except Terminated as termination:
        return termination.exit_code
    except RuntimeError as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"blobdiag: {line}", file=sys.stderr)
        return 3
