"""Arrays on disk, written atomically and read without executing anything in the file.

Files are in safetensors format, with JSON metadata. A new file is written under a temporary name,
flushed to the disk and then renamed: whenever a process or the machine dies, its name refers to the
complete old file or the complete new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

Arrays = Mapping[str, NDArray[Any]]

TEMPORARY = ".tmp"
"""Suffix of a file that is being written."""
ABOUT = "about"
"""The only entry of a file's metadata: JSON."""


class CheckpointError(RuntimeError):
    """A file cannot be read or written, or has other content; the message is one line."""


class Saved(NamedTuple):
    """Content of a file: arrays by name, and what they are as JSON values."""

    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]


def write_arrays(path: Path, arrays: Arrays, about: Mapping[str, object]) -> None:
    """Write arrays and their metadata, JSON values, replacing the file.

    Raises CheckpointError; an old file is then unchanged.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_whole(path, save(contiguous, {ABOUT: json.dumps(about)}))


def read_arrays(path: Path) -> Saved:
    """Read what `write_arrays` wrote. Raises CheckpointError for any other file."""
    about = read_about(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return Saved({name: file.get_tensor(name) for name in file.keys()}, about)  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {_reason(error)}") from None


def read_about(path: Path) -> dict[str, Any]:
    """Read a file's metadata alone. Raises CheckpointError."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {_reason(error)}") from None
    except (KeyError, ValueError):
        about = None
    if not isinstance(about, dict):
        raise CheckpointError(f"{path} is no file of a training run")
    return about


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file atomically. Raises CheckpointError; an old file is then unchanged."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {_reason(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    """The error in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return f"it is damaged, or of another kind ({first})"
