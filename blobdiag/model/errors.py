"""The errors a user is meant to read: one line, and an exit code."""

from __future__ import annotations

MOST_CHARACTERS = 300
"""Of an error line."""
_HEAD = 190
"""Characters kept of the beginning of a longer one; the rest is from its end, the reason."""


def one_line(text: str) -> str:
    """A text as one line of at most MOST_CHARACTERS, without control characters."""
    text = text[: 4 * MOST_CHARACTERS] + text[4 * MOST_CHARACTERS :][-4 * MOST_CHARACTERS :]
    words = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
    if len(line) <= MOST_CHARACTERS:
        return line
    return f"{line[:_HEAD]} … {line[len(line) - (MOST_CHARACTERS - _HEAD - 3) :]}"


class UserError(Exception):
    """Bad usage or bad input: shown as one line, exit code 2."""

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class CannotStart(Exception):
    """The command is not there, or is no program; the text is one line."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code
