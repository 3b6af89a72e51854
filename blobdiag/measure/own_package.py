"""Import blobdiag's package `engine` even if another one comes first on Python's path."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import blobdiag


def import_own_engine() -> None:
    """Import `engine` from the folder that holds `blobdiag`.

    This affects the current process only: a child process finds the user's package.
    """
    beside = str(Path(blobdiag.__file__).parents[1])
    sys.path.insert(0, beside)
    try:
        importlib.import_module("engine")
    finally:
        sys.path.remove(beside)
