"""The command that is watched: started with our streams, its exit code unchanged.

It stays in our process group, so that a terminal treats both as one job: Ctrl-C, Ctrl-Z and
reading in the background work as without us.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NoReturn

from blobdiag.model.errors import CannotStart

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes, as a shell has them (POSIX, "Exit Status for Commands")."""


OUR_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
"""Errors of a start that the command, in our place, would not meet."""


def in_our_place(arguments: Sequence[str]) -> NoReturn:
    """Become the command, as if it had been started without us. Raises CannotStart."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them
    try:
        os.execvp(arguments[0], list(arguments))
    except OSError as error:
        if error.errno == errno.ENOEXEC and (script := shutil.which(arguments[0])):
            os.execv("/bin/sh", ["/bin/sh", script, *arguments[1:]])
        raise _cannot_start(arguments[0], error) from None
    except ValueError as error:  # a NUL in an argument
        raise CannotStart(f"cannot run {arguments[0]!r}: {error}", NOT_EXECUTABLE) from None


def _cannot_start(name: str, error: OSError) -> CannotStart:
    return CannotStart(
        f"cannot run {name}: {error.strerror or error}",
        NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE,
    )


def _start(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """With the open files we inherited: `<(…)` of a shell, make's, systemd's sockets.

    A script without a `#!` line is a shell's, as for execvp(3).
    """
    try:
        return subprocess.Popen(arguments, env=environment, close_fds=False)
    except OSError as error:
        script = shutil.which(arguments[0], path=environment.get("PATH"))
        if error.errno != errno.ENOEXEC or script is None:
            raise
        shell = ["/bin/sh", script, *arguments[1:]]
        return subprocess.Popen(shell, env=environment, close_fds=False)


class RunningCommand:
    """A process, from its start to its exit."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it. Raises CannotStart; OSError where only we lack what starting takes."""
        try:
            self._process = _start(arguments, environment)
        except OSError as error:
            if error.errno in OUR_LIMITS:
                raise
            raise _cannot_start(arguments[0], error) from None
        except ValueError as error:  # a NUL in an argument
            raise CannotStart(f"cannot run {arguments[0]!r}: {error}", NOT_EXECUTABLE) from None
        self.pid = self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has exited; until `collect` it is a zombie, whose last figures can be read."""
        options = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self.pid, options) is not None

    def send(self, number: int) -> None:
        """Signal it, before `collect`; without effect where it has ended."""
        os.kill(self.pid, number)

    def collect(self) -> int:
        """Its exit code, or minus the signal that killed it; waits for its exit."""
        return self._process.wait()
