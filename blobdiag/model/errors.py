"""The errors a user is meant to read: one line, and an exit code."""

from __future__ import annotations


class UserError(Exception):
    """Bad usage or bad input: shown as one line, exit code 2."""


class CannotStart(Exception):
    """The command is not there, or is no program; the text is one line."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code
