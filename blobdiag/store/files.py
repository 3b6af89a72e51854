"""Entries by key in small JSON files of the user's configuration folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from platformdirs import user_config_path
from pydantic import ValidationError

from blobdiag.model.errors import UserError
from blobdiag.model.own_files import check_own_folder, read_own, replace_whole

MOST_BYTES = 4_000_000
"""Of a file; an entry takes some hundreds."""


class NoHome(UserError):
    """The account has no folder of its own: nothing is stored for it."""


def store_file(name: str) -> Path:
    """Path of a file of the store, whether or not it exists. Raises NoHome."""
    try:
        folder = user_config_path("blobdiag", appauthor=False)
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():
        raise NoHome(
            f"{name} cannot be stored: this account has no home folder; set XDG_CONFIG_HOME to a "
            "folder of its own"
        )
    return folder / name


def read_entries(name: str) -> dict[str, Any]:
    """A file's entries by key; none where there is no file.

    Raises UserError, for a file of another account too.
    """
    try:
        path = store_file(name)
    except NoHome:
        return {}
    try:
        check_own_folder(path.parent)
        content = read_own(path, MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES / 1e6:.0f} MB")
        entries = json.loads(content)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"{path} cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(entries, dict):
        raise UserError(f"{path} cannot be read: it holds no entries by key")
    return entries


def write_entry(name: str, key: str, entry: dict[str, Any]) -> Path:
    """Write an entry, replacing one of the same key; the file's path. Raises UserError."""
    path = store_file(name)
    entries = {**read_entries(name), key: entry}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_own_folder(path.parent)
        replace_whole(path, f"{json.dumps(entries, indent=1)}\n".encode(), closed=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path


def first_problem(error: ValidationError) -> str:
    """What is wrong with an entry, without its value."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return " ".join(f"{field}: {first['msg']}".removeprefix(": ").split())[:120]
