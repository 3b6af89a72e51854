"""The console that everything is drawn on."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def new_console(**more: Any) -> Console:
    """A console that takes no text for markup, an emoji's name or a figure to be coloured."""
    return Console(highlight=False, markup=False, emoji=False, **more)
