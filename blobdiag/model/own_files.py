"""Files that no other account made or may write to, read and written without following links."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from uuid import uuid4

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Neither a link is followed nor a pipe waited for."""
_BINARY = getattr(os, "O_BINARY", 0)


class ForeignFile(OSError):
    """Another account may have made a file, or may change it; the message is one line."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.strerror = line


def read_own(path: Path, most_bytes: int) -> bytes:
    """The first bytes of a regular file of this account's or root's own.

    Raises ForeignFile, OSError where it cannot be opened.
    """
    return _read(path, most_bytes, own=True)


def read_here(path: Path, most_bytes: int) -> bytes:
    """The first bytes of a regular file, whoever wrote it, that is no link to another.

    Raises ForeignFile, OSError where it cannot be opened.
    """
    return _read(path, most_bytes, own=False)


def _read(path: Path, most_bytes: int, *, own: bool) -> bytes:
    if path.is_symlink():
        raise ForeignFile("it is a link")
    with open(os.open(path, os.O_RDONLY | _NO_LINK | _BINARY), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ForeignFile("it is no regular file")
        if own and (foreign := _foreign(about)):
            raise ForeignFile(foreign)
        return file.read(most_bytes)


def replace_whole(path: Path, content: bytes, *, closed: bool = False) -> None:
    """Put a file of this content in the place of one, all of it or nothing.

    Not through a link: one of this name is replaced. `closed`: only this account may read it.
    Raises OSError.
    """
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        write_fresh(temporary, content, 0o600 if closed else 0o666)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_fresh(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file that is not there, to the disk, so that it is whole before it is renamed.

    Raises FileExistsError for whatever has this name, a link too; OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _BINARY
    with open(os.open(path, flags, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_own_folder(folder: Path) -> None:
    """Raises ForeignFile for a folder that is a link, no folder, or another account's."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode):
        raise ForeignFile("it is a link" if stat.S_ISLNK(about.st_mode) else "it is no folder")
    if hasattr(os, "geteuid") and about.st_uid not in (0, os.geteuid()):
        raise ForeignFile(f"it belongs to another account (uid {about.st_uid})")


def temporary_folder() -> Path:
    """The folder for temporary files, where no other account can rename what is made in it.

    Raises ForeignFile where there is none.
    """
    chosen = Path(tempfile.gettempdir())
    candidates = dict.fromkeys([chosen, Path("/tmp"), Path("/var/tmp")])
    for folder in candidates if hasattr(os, "geteuid") else [chosen]:
        if folder.is_dir() and os.access(folder, os.W_OK) and _keeps_names(folder):
            return folder
    raise ForeignFile(
        f"other accounts may rename what is written to {chosen}: set TMPDIR to a folder that only "
        "this account can write to"
    )


def _keeps_names(folder: Path) -> bool:
    """Whether only root and this account can rename or replace entries up to the root."""
    if not hasattr(os, "geteuid"):
        return True  # Windows: a user's folders are closed to other users
    real = folder.resolve()
    for one in (real, *real.parents):
        about = one.stat()
        if about.st_uid not in (0, os.geteuid()):
            return False
        if about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX:
            return False
    return True


def _foreign(about: os.stat_result) -> str | None:
    """How another account may have written a file; None: it cannot have."""
    if not hasattr(os, "geteuid"):
        return None
    if about.st_uid not in (0, os.geteuid()):
        return f"it belongs to another account (uid {about.st_uid})"
    # A file of before may be open to this account's group, which is mostly of it alone.
    own_group = about.st_gid == os.getegid()
    if about.st_mode & (stat.S_IWOTH if own_group else stat.S_IWOTH | stat.S_IWGRP):
        return "other accounts may write to it (chmod go-w closes it)"
    return None
