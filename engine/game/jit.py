"""The decorator every kernel wears: compiled once, without the GIL, into a cache of its own.

numba's cache key covers the file of a function, not the files of the functions it calls, so a
hash of all of the engine's sources is part of the folder's name: an edit anywhere opens a new
folder instead of running stale machine code.
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
    """Where compiled kernels are kept, or None when no folder can be written."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(chosen)] if chosen else [user_cache_path("blobdiag", appauthor=False)]
    # A shared temporary folder could hold another user's machine code: one of our own, or none.
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
    """Whether kernels compiled from these very sources are in the cache already."""
    folder = cache_folder()
    return folder is not None and any(folder.rglob("*.nbc"))


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` in nopython mode, releasing the GIL, cached between processes.

    A kernel makes no arrays: numba's reference counts are off, which are atomic, one to an array
    and call, and took more than half of the search's time.
    """
    return _compiled(function, inline="never")


def inlined(function: Callable[..., Any]) -> Any:
    """A kernel whose body goes into those that call it.

    Arrays travel by value, seven words or more each: a call with a whole Group costs.
    """
    return _compiled(function, inline="always")


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    options |= {"nogil": True, "_nrt": False}
    folder = cache_folder()
    if folder is None:
        return numba.njit(**options)(function)
    # The locator is chosen while decorating: other people's kernels keep their own folder.
    before = vars(config)["CACHE_DIR"]
    vars(config)["CACHE_DIR"] = str(folder)
    try:
        return numba.njit(cache=True, **options)(function)
    finally:
        vars(config)["CACHE_DIR"] = before
