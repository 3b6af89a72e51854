"""SIGINT, SIGTERM and time that runs out as exceptions: what is measured is kept."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGINT_EXIT, SIGTERM_EXIT = 130, 143


class Terminated(BaseException):
    """SIGTERM came."""


class TimedOut(BaseException):
    """The time limit was reached."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into Terminated inside; both signals' handlers are put back afterwards."""

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

    By SIGALRM, which ends a wait as Ctrl-C does. Not inherited by processes started meanwhile.
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
    """From here on the time limit ends nothing: what is open is being closed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def exit_code_of(run: Callable[[], int]) -> int:
    """Run a command that writes no report; its exit code, or that of what ended it.

    Ctrl-C is 130, SIGTERM 143; an absent device, workers that failed and whatever CUDA raises are
    one line and 3.
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
