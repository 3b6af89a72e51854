"""Arrays on disk: written whole or not at all, and read without running anything of the file.

A file is in safetensors format: numbers, and a text that says what they are. A new one is written
beside its place, brought to the disk, and only then given its name; so whatever moment a process
or the machine dies in, under that name there is the file before or the file after.
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
"""Suffix of a file that is being written; one that is left over is of no use."""
ABOUT = "about"
"""The one entry of a file's metadata: JSON."""


class CheckpointError(RuntimeError):
    """A file that cannot be read or written, or holds something else; the message is one line."""


class Saved(NamedTuple):
    """What a file holds."""

    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]


def write_arrays(path: Path, arrays: Arrays, about: Mapping[str, object]) -> None:
    """Write arrays, and what they are as plain JSON values, in place of what was there.

    Raises CheckpointError; the file that was there is then whole.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_whole(path, save(contiguous, {ABOUT: json.dumps(about)}))


def read_arrays(path: Path) -> Saved:
    """What `write_arrays` wrote. Raises CheckpointError for anything else."""
    about = read_about(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return Saved({name: file.get_tensor(name) for name in file.keys()}, about)  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {_reason(error)}") from None


def read_about(path: Path) -> dict[str, Any]:
    """What a file's arrays are; they are not read. Raises CheckpointError."""
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
    """Write a file so that under its name there always is all of the old or all of the new one.

    Raises CheckpointError.
    """
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
    """Bring a folder's names to the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    """One line; what the format's reader says of a file that it cannot use is not for the user."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return f"it is damaged, or of another kind ({first})"
