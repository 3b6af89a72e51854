"""The standard streams of a command: one that is closed or full never ends the command's work.

A pipe whose reader is gone (`| head`), a full disk, a terminal that was closed: what is written to
such a stream is dropped from then on, and nothing that prints needs to know. At the end `main`
turns it into an exit code: that of the verdict where a report holds what was measured; otherwise
2, and a line, for output that is lost by an error other than a closed pipe.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

CLOSED = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET)
"""Of a stream that nobody reads any more: a pipe, a terminal, a descriptor, a socket."""


class _Descriptor(io.RawIOBase):
    """Writes to a descriptor until that fails, then to nowhere."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None
        """Why what was written is lost, if it is."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        """Write what there is room for; called by the buffer above."""
        while self.error is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another process made the pipe non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error
        return len(data)


class Streams:
    """stdout and stderr of this process, guarded."""

    def __init__(self) -> None:
        self.placeholders = [number for number in (0, 1, 2) if _is_closed(number)]
        """Descriptors that were closed at the start, and are /dev/null's now."""
        for number in self.placeholders:
            _open_null(number)
        self._raw = {number: _Descriptor(number) for number in (1, 2)}
        sys.stdout = self._guarded(1, sys.stdout)
        sys.stderr = self._guarded(2, sys.stderr)
        self.report_holds_it = False
        """Whether what goes to stdout is in a report too."""

    def _guarded(self, number: int, stream: TextIO | None) -> TextIO:
        if stream is not None:
            stream.flush()
        return io.TextIOWrapper(
            io.BufferedWriter(self._raw[number]),
            encoding=getattr(stream, "encoding", None) or "utf-8",
            # A report must not fail on a terminal that cannot draw a dash.
            errors="replace",
            line_buffering=getattr(stream, "line_buffering", True),
            write_through=getattr(stream, "write_through", False),
        )

    @property
    def stdout_error(self) -> OSError | None:
        """Why what was printed on stdout is lost, if it is."""
        sys.stdout.flush()
        return self._raw[1].error

    def exit_code(self, code: int) -> int:
        """A command's exit code once all is written; a line where what it printed is lost."""
        error = self.stdout_error
        sys.stderr.flush()
        if error is None or error.errno in CLOSED:
            return code
        print(f"blobdiag: cannot write to stdout: {error.strerror}", file=sys.stderr)
        return code if self.report_holds_it else 2


_streams: Streams | None = None


@contextmanager
def guarded() -> Iterator[None]:
    """Inside, no stream ends the work; SystemExit takes the streams into account.

    Without effect where stdout is not this process's own, as in a test that captures it, and on
    Windows.
    """
    global _streams
    if _are_replaced():
        yield
        return
    _streams = Streams()
    code: object = 0
    try:
        yield
    except SystemExit as ending:
        code = ending.code
    if code is None or isinstance(code, int):
        sys.exit(_streams.exit_code(code or 0))
    raise SystemExit(code)


def report_holds_it() -> None:
    """What is printed from here on is in a report: a stdout that is lost changes no exit code."""
    if _streams is not None:
        _streams.report_holds_it = True


def closed_stay_closed() -> None:
    """A program started from here on finds those streams closed that were closed at our start."""
    for number in () if _streams is None else _streams.placeholders:
        os.set_inheritable(number, False)


def stdout_is_lost() -> bool:
    """Whether what was printed on stdout was not read to its end."""
    return _streams is not None and _streams.stdout_error is not None


def _are_replaced() -> bool:
    if os.name != "posix":
        return True
    return sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _open_null(number: int) -> None:
    """Have the descriptor be /dev/null: else the next file that is opened would be stdout."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(null, number, inheritable=True)
        os.close(null)
