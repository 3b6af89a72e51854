"""Temporary folders whose owner may be killed: the next folder made removes what such a one left.

A folder holds a file that its owner has locked for as long as it lives; the kernel lifts the lock
when the owner ends, however that happens, also where one cannot see the other's PID.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from blobdiag.model.errors import UserError
from blobdiag.model.own_files import temporary_folder

PREFIX = "blobdiag-"
LOCK = ".owner"


class TemporaryFolder:
    """A new folder under the system's temporary one, removed by `close`; POSIX only.

    It is of this account alone, and no other can rename it.
    """

    def __init__(self) -> None:
        """Raises UserError where there is no place for one."""
        try:
            parent = temporary_folder()
            remove_abandoned(parent)
            self._folder = TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
        except OSError as error:
            raise UserError(f"no folder for a program's records: {error.strerror}") from None
        self.path = Path(self._folder.name)
        self._lock = _make_lock(self.path)

    def close(self) -> None:
        """Remove it with all that is inside; repeatable."""
        self._folder.cleanup()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove this user's folders whose owner is gone; which these were."""
    removed = []
    with suppress(OSError):
        for name in sorted(os.listdir(parent)):
            if name.startswith(PREFIX) and _is_abandoned(parent / name):
                shutil.rmtree(parent / name, ignore_errors=True)
                removed.append(parent / name)
    return removed


def _is_abandoned(folder: Path) -> bool:
    """Whether it is ours, has had an owner, and has none now."""
    try:
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            return False
        # Read-only would do for flock(2), but not on NFS.
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False  # it has no owner yet, or was not made here
    try:
        return _lock(lock)
    finally:
        os.close(lock)


def _make_lock(folder: Path) -> int | None:
    """A locked descriptor, which no child inherits; the file has its name only once it is locked.

    None where this file system has no locks: such a folder is never taken for an abandoned one.
    """
    unnamed = folder / f"{LOCK}.new"
    descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    if _lock(descriptor):
        unnamed.rename(folder / LOCK)
        return descriptor
    os.close(descriptor)
    unnamed.unlink()
    return None


def _lock(descriptor: int) -> bool:
    import fcntl  # not on Windows

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
