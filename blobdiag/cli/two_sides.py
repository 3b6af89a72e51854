"""Two lists of files on one command line: `OLD... -- NEW...`, or exactly one file a side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from blobdiag.model.errors import UserError

BETWEEN = "\0"
"""In the place of `--`: a name that no file can have."""


class TwoSides(TyperCommand):
    """A command that sees where `--` stood. Options may come after it, as before it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As every command, with `--` kept among the files as BETWEEN."""
        return super().parse_args(ctx, [BETWEEN if text == "--" else text for text in args])


def sides(files: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """The files before and after `--`; without it, the first and the second of exactly two.

    Raises UserError.
    """
    if files.count(BETWEEN) == 1:
        middle = files.index(BETWEEN)
        old, new = files[:middle], files[middle + 1 :]
        if old and new:
            return [Path(file) for file in old], [Path(file) for file in new]
    elif len(files) == 2 and BETWEEN not in files:
        return [Path(files[0])], [Path(files[1])]
    raise UserError("report diff takes OLD NEW, or several reports a side: OLD... -- NEW...")
