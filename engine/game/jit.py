"""The decorators of the engine's kernels: compiled once, without the GIL, cached on disk.

numba's cache key covers the file of a function, but not the files of the functions it calls. So a
hash of all sources of the engine is part of the cache folder's name, and an edit anywhere leads to
a new folder instead of stale machine code.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import config
from platformdirs import user_cache_path

Integer = int | np.integer
"""A whole number inside a kernel."""


@cache
def cache_folder() -> Path | None:
    """The folder of compiled kernels; None when no folder can be written."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(chosen)] if chosen else [user_cache_path("blobdiag", appauthor=False)]
    # Only a folder that is ours: a shared one could contain another user's machine code.
    getuid = getattr(os, "getuid", None)
    if getuid is not None:
        folders.append(Path(tempfile.gettempdir()) / f"blobdiag-{getuid()}")
    for folder in folders:
        try:
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        owned = getuid is None or (folder / name).stat().st_uid == getuid()
        if owned and os.access(folder / name, os.W_OK):
            return folder / name
    return None


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
        return numba.njit(cache=True, **options)(function)
    finally:
        vars(config)["CACHE_DIR"] = before
