"""What is to be measured: a command, the device that it asks for, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from blobdiag.model.settings import Settings

if TYPE_CHECKING:
    from blobdiag.measure.session import Session


class Measurement(NamedTuple):
    """One command's measurement, ready to be made in a session."""

    command: str
    device: str
    """Resolved: never `auto`."""
    settings: Settings
    measure: Callable[[Session], None]
    notes: Sequence[str] = ()
    """Lines to be said before it is made."""
