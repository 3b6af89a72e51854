"""What blobdiag keeps for a user from one run to the next: entries by key in small JSON files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from blobdiag.model.errors import UserError


def kept_file(name: str) -> Path:
    """Where a file of that name is kept, whether or not it is there."""
    return user_config_path("blobdiag", appauthor=False) / name


def read_kept(name: str) -> dict[str, Any]:
    """Its entries by key; none where nothing was kept. Raises UserError."""
    path = kept_file(name)
    try:
        kept = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return kept if isinstance(kept, dict) else {}


def keep(name: str, key: str, entry: dict[str, Any]) -> Path:
    """Keep an entry, in place of an older one for the same key. Raises UserError."""
    path = kept_file(name)
    kept = {**read_kept(name), key: entry}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps(kept, indent=1) + "\n")
        fresh.replace(path)
    except OSError as error:
        raise UserError(f"nothing can be kept in {path}: {error.strerror}") from None
    return path
