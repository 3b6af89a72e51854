"""Definition of a measurement: command, device, settings and the function that measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from blobdiag.model.settings import Settings

if TYPE_CHECKING:
    from blobdiag.measure.session import Session


class Measurement(NamedTuple):
    """One command's measurement; `measure` runs it in a session."""

    command: str
    device: str
    """The resolved device: never `auto`."""
    settings: Settings
    measure: Callable[[Session], None]
    notes: Sequence[str] = ()
    """Lines to be said before it is made."""
