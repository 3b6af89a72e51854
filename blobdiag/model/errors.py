"""The errors a user is meant to read: one line, and an exit code."""

from __future__ import annotations


class UserError(Exception):
    """Bad usage or bad input: shown as one line, exit code 2."""
