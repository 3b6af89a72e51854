"""Folders of small text files, as /proc and /sys have them."""

from __future__ import annotations

from pathlib import Path


def write(root: Path, **files: str) -> Path:
    """Make files; their paths are given with `__` for `/` and `_dot_` for `.`."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
