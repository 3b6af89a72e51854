"""Entries by key in small JSON files of the user's configuration folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from blobdiag.model.errors import UserError


def store_file(name: str) -> Path:
    """Path of a file of the store, whether or not it exists."""
    return user_config_path("blobdiag", appauthor=False) / name


def read_entries(name: str) -> dict[str, Any]:
    """A file's entries by key; none where there is no file. Raises UserError."""
    path = store_file(name)
    try:
        entries = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return entries if isinstance(entries, dict) else {}


def write_entry(name: str, key: str, entry: dict[str, Any]) -> Path:
    """Write an entry, replacing one of the same key; the file's path. Raises UserError."""
    path = store_file(name)
    entries = {**read_entries(name), key: entry}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps(entries, indent=1) + "\n")
        fresh.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path
