"""What every part of the attacks gives."""

from __future__ import annotations

from typing import NamedTuple


class Attack(NamedTuple):
    """One attack, or many of a kind, and what came of it."""

    name: str
    expected: str
    seen: str
    ok: bool
