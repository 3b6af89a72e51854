"""Arrays on disk, written atomically and read without executing anything in the file.

Files are in safetensors format, with JSON metadata. A new file is written under a temporary name,
flushed to the disk and then renamed: whenever a process or the machine dies, its name refers to the
complete old file or the complete new one.

The metadata end in a SHA-256 of the file, computed with 64 zeros in its place, so that a changed
bit is found wherever it is. Only regular files are opened: a named pipe would be waited for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
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
CHECKSUM = "sha256"
"""The last value of that JSON; files of earlier versions have none."""
_MARK = json.dumps(f'"{CHECKSUM}": "')[1:-1].encode()
"""What precedes it in a file, where the JSON is a string in the JSON of safetensors."""
_BLANK = b"0" * 64
_OURS, _DIGEST = b'"about":"', re.compile(rb"[0-9a-f]{64}")
"""In a header with both, a missing mark is a damaged one."""
LONGEST_HEADER = 100_000_000
"""Bytes, as safetensors has it."""
LARGEST_TEXT = 64 << 20
"""Bytes of a text file of a run."""


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
    text = json.dumps({**about, CHECKSUM: _BLANK.decode()})
    content = bytearray(save(contiguous, {ABOUT: text}))
    at = content.index(_MARK) + len(_MARK)
    content[at : at + len(_BLANK)] = hashlib.sha256(content).hexdigest().encode()
    write_whole(path, content)


def read_arrays(path: Path) -> Saved:
    """Read what `write_arrays` wrote.

    Raises CheckpointError for any other file, and for one that is not as it was written.
    """
    about = read_about(path)
    has_checksum(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return Saved({name: file.get_tensor(name) for name in file.keys()}, about)  # noqa: SIM118
    except Exception as error:  # a dtype that numpy lacks raises anything
        raise CheckpointError(f"{path}: {_reason(error)}") from None


def read_about(path: Path) -> dict[str, Any]:
    """Read a file's metadata alone, unverified. Raises CheckpointError."""
    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {_reason(error)}") from None
    except (KeyError, ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise CheckpointError(f"{path} is no file of a training run")
    about.pop(CHECKSUM, None)
    return about


def has_checksum(path: Path) -> bool:
    """Whether a safetensors file has a checksum, which is then right.

    Raises CheckpointError where it is wrong, and for a file that cannot be read.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > LONGEST_HEADER:
                raise CheckpointError(f"{path}: it is damaged, or of another kind (no header)")
            header = file.read(length)
            at = header.find(_MARK)
            if at < 0 and not (_OURS in header and _DIGEST.search(header)):
                return False
            at += len(_MARK)
            said = header[at : at + len(_BLANK)]
            digest = hashlib.sha256(start)
            digest.update(header[:at] + _BLANK + header[at + len(_BLANK) :])
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"{path}: {_reason(error)}") from None
    if digest.hexdigest().encode() != said:
        raise CheckpointError(
            f"{path}: it is damaged: its SHA-256 is not the one it was written with"
        )
    return True


def check_regular(path: Path) -> None:
    """Raises CheckpointError for what is no regular file, or a link to none, and for none."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {_reason(error)}") from None
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path} is no regular file")


def read_text(path: Path) -> str:
    """Text of a regular file. Raises CheckpointError, FileNotFoundError where there is none."""
    if not path.exists():
        raise FileNotFoundError(path)
    check_regular(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
        if len(content) > LARGEST_TEXT:
            raise CheckpointError(f"cannot read {path}: it has more than {LARGEST_TEXT >> 20} MiB")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise CheckpointError(f"cannot read {path}: {reason}") from None


def write_whole(path: Path, content: bytes | bytearray) -> None:
    """Replace a file atomically. Raises CheckpointError; an old file is then unchanged."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        temporary.unlink(missing_ok=True)
        # Exclusively: nothing is written through a link that has this name.
        with temporary.open("xb") as file:
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
