"""SIGINT and SIGTERM as exceptions, so that what is open is closed and what is measured kept."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGINT_EXIT, SIGTERM_EXIT = 130, 143


class Terminated(BaseException):
    """SIGTERM came."""


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
