"""SIGTERM and a time limit as exceptions, so that an interrupted run still writes its report."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGINT_EXIT, SIGTERM_EXIT = 130, 143


class Terminated(BaseException):
    """SIGTERM was received."""


class TimedOut(BaseException):
    """The time limit was reached."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Raise Terminated on SIGTERM inside; restore the handlers of SIGTERM and SIGINT afterwards."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


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

    Ctrl-C gives 130, SIGTERM 143. A RuntimeError (absent device, failed workers, CUDA errors) is
    printed in one line and gives 3.
    """
    try:
        with sigterm_raises():
            return run()
    except KeyboardInterrupt:
        return SIGINT_EXIT
    except Terminated:
        return SIGTERM_EXIT
    except RuntimeError as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"blobdiag: {line}", file=sys.stderr)
        return 3
