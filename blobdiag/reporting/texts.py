"""Text that somebody else wrote, fit to be drawn."""

from __future__ import annotations


def printable(value: str) -> str:
    """Without control characters, which a terminal would obey."""
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in value
    )
