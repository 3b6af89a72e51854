"""Folders that no other account can write to, or put another folder in the place of.

Compiled kernels are read back as pickles, and reading a pickle executes it: they are stored in a
folder of this kind or not at all.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

MOST_LINKS = 40
"""In a path, as Linux has it: path_resolution(7)."""


class UntrustedFolder(OSError):
    """Another account could change what is in a folder; the message is one line."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.strerror = line


def own_folder(path: Path) -> Path:
    """Make a folder of this account alone, mode 0700, or accept one; its path without links.

    Every folder above it must belong to root or to this account and be writable to nobody else,
    except a sticky one like /tmp, in which others cannot rename what is ours. Links are followed
    only where no other account could have made them, and never in the place of the folder itself.

    Raises UntrustedFolder, OSError where it cannot be made.
    """
    if not hasattr(os, "geteuid"):  # Windows: a user's folders are closed to other users
        path.mkdir(parents=True, exist_ok=True)
        return path
    found, links = Path(os.sep), 0
    _check_parent(found, found.lstat())
    left = list(reversed(path.absolute().parts[1:]))
    while left:
        name = left.pop()
        if name == os.pardir:
            found = found.parent
            continue
        here = found / name
        about = _made(here)
        if stat.S_ISLNK(about.st_mode):
            links += 1
            _check_link(here, about, found.lstat(), last=not left)
            if links > MOST_LINKS:
                raise UntrustedFolder(f"{path} has too many links")
            target = Path(os.readlink(here))
            left += reversed([part for part in target.parts if part != os.sep])
            found = Path(os.sep) if target.is_absolute() else found
            continue
        if not stat.S_ISDIR(about.st_mode):
            raise UntrustedFolder(f"{here} is not a folder")
        if left:
            _check_parent(here, about)
        elif about.st_uid != os.geteuid():
            raise UntrustedFolder(f"{here} belongs to another account (uid {about.st_uid})")
        elif about.st_mode & 0o077:
            raise UntrustedFolder(f"{here} is open to other accounts (chmod 700 closes it)")
        found = here
    return found


def check_run_folder(folder: Path) -> None:
    """Raise UntrustedFolder for a folder in which a foreign account could replace our files.

    A group may share it: what is read back is data, checked, and never executed.
    """
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode):
        raise UntrustedFolder(f"{folder.name} is a link or a file, not a folder")
    if not hasattr(os, "geteuid"):
        return
    if about.st_uid not in (0, os.geteuid()):
        raise UntrustedFolder(f"it belongs to another account (uid {about.st_uid}): chown it")
    if about.st_mode & stat.S_IWOTH and not about.st_mode & stat.S_ISVTX:
        raise UntrustedFolder(f"every account may write to {folder.name} (chmod o-w closes it)")


def _made(folder: Path) -> os.stat_result:
    """What is there, made if nothing is: its parent has been checked."""
    try:
        return folder.lstat()
    except FileNotFoundError:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        return folder.lstat()


def _check_parent(folder: Path, about: os.stat_result) -> None:
    if about.st_uid not in (0, os.geteuid()):
        raise UntrustedFolder(f"{folder} belongs to another account (uid {about.st_uid})")
    if others_may_write(about) and not about.st_mode & stat.S_ISVTX:
        raise UntrustedFolder(f"other accounts may write to {folder}")


def _check_link(link: Path, about: os.stat_result, parent: os.stat_result, *, last: bool) -> None:
    # A sticky folder is written to by others too, who may have put the link there.
    foreign = about.st_uid not in (0, os.geteuid()) or others_may_write(parent)
    if last or foreign:
        raise UntrustedFolder(f"{link} is a link")


def others_may_write(about: os.stat_result) -> bool:
    """Whether an account other than root and this one may; a group of this one alone is no other.

    Access lists are covered: where there is one, the group's bits are its mask (acl(5)).
    """
    if about.st_mode & stat.S_IWOTH:
        return True
    return bool(about.st_mode & stat.S_IWGRP) and not _is_private(about.st_gid)


def _is_private(group: int) -> bool:
    """Whether a group is the one that a system makes for this account alone."""
    import grp  # POSIX only, as pwd
    import pwd

    try:
        account = pwd.getpwuid(os.geteuid())
        about = grp.getgrgid(group)
    except KeyError:
        return False
    return (
        account.pw_gid == group
        and about.gr_name == account.pw_name
        and set(about.gr_mem) <= {account.pw_name}
    )
