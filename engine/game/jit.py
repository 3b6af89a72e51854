"""The decorators of the engine's kernels: compiled once, without the GIL, cached on disk.

numba's cache key covers the file of a function, but not the files of the functions it calls. So a
hash of all sources of the engine is part of the cache folder's name, and an edit anywhere leads to
a new folder instead of stale machine code.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import config
from platformdirs import user_cache_path

from engine.game.trusted_folder import UntrustedFolder, own_folder

Integer = int | np.integer
"""A whole number inside a kernel."""


class KernelCache(NamedTuple):
    """Where compiled kernels are stored."""

    folder: Path | None
    """None: nowhere, each process compiles its own."""
    refused: str
    """The folders that were not used, and why; empty where the first could be."""


@cache
def kernel_cache() -> KernelCache:
    """The first folder that nobody else can write to; none is said once, as a warning."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    refused = []
    for candidate in (_chosen_folder, _temporary_folder):
        try:
            folder = own_folder(candidate() / name)
            if not os.access(folder, os.W_OK):
                raise UntrustedFolder(f"{folder} is not writable")
        except (OSError, RuntimeError) as error:
            refused.append(_line(error))
            continue
        return KernelCache(folder, "; ".join(refused))
    found = KernelCache(None, "; ".join(refused))
    if parent_process() is None:  # a worker's parent has said it
        logging.getLogger(__name__).warning(
            "compiled kernels are not stored, every start compiles again: %s; "
            "set NUMBA_CACHE_DIR to a folder that only this account can write to",
            found.refused,
        )
    return found


def cache_folder() -> Path | None:
    """The folder of compiled kernels; None where none can be trusted and written."""
    return kernel_cache().folder


def _chosen_folder() -> Path:
    """Raises RuntimeError for an account without a home."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(chosen)
    folder = user_cache_path("blobdiag", appauthor=False)
    if not folder.is_absolute():
        raise RuntimeError("this account has no home folder")
    return folder


def _temporary_folder() -> Path:
    """Of this account, in a folder that all may write to."""
    getuid = getattr(os, "geteuid", None)
    if getuid is None:
        raise RuntimeError("the temporary folder may be shared")
    return Path(tempfile.gettempdir()) / f"blobdiag-{getuid()}"


def _line(error: Exception) -> str:
    """An error of the system with its path, in one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def is_warm() -> bool:
    """Whether the cache has kernels compiled from the present sources."""
    folder = cache_folder()
    return folder is not None and any(folder.rglob("*.nbc"))


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` in nopython mode, releasing the GIL, cached on disk.

    A kernel must not allocate arrays: numba's atomic reference counts, one per array and call, took
    more than half of the search's time and are off.
    """
    return _compiled(function, inline="never")


def inlined(function: Callable[..., Any]) -> Any:
    """A kernel that is inlined into its callers.

    Arrays are passed by value, seven words or more each, so a call with a whole Group is slow.
    """
    return _compiled(function, inline="always")


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    options |= {"nogil": True, "_nrt": False}
    folder = cache_folder()
    if folder is None:
        return numba.njit(**options)(function)
    # numba reads the setting while decorating; restored so that other kernels keep their folder.
    before = vars(config)["CACHE_DIR"]
    vars(config)["CACHE_DIR"] = str(folder)
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # it found no folder at all
        return numba.njit(**options)(function)
    finally:
        vars(config)["CACHE_DIR"] = before
    # Where it cannot write to the folder, numba takes one of its own, which nobody has checked.
    if Path(compiled.stats.cache_path).parent != folder:
        return numba.njit(**options)(function)
    return compiled
