"""Files that others may have made: a pipe or a device in the place of a file is never opened."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class TooLarge(Exception):
    """A file that has more bytes than are read."""


def read_regular(path: Path, most: int) -> bytes:
    """All of a regular file. Raises OSError for what is none, TooLarge above `most` bytes."""
    _refuse_irregular(os.stat(path).st_mode)
    # Another file may take its place meanwhile: opening a pipe must not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _refuse_irregular(status.st_mode)
        if status.st_size > most:
            raise TooLarge
        content = file.read(most + 1)
    if len(content) > most:
        raise TooLarge
    return content


_BINARY = getattr(os, "O_BINARY", 0)


def _refuse_irregular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")
