"""Our package `engine`, where another of that name comes first on the path."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import blobdiag


def import_own_engine() -> None:
    """Import it from beside `blobdiag`, so that this process has it whatever a user's folder holds.

    Only this process: what it starts finds the user's package.
    """
    beside = str(Path(blobdiag.__file__).parents[1])
    sys.path.insert(0, beside)
    try:
        importlib.import_module("engine")
    finally:
        sys.path.remove(beside)
