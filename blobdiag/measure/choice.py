"""Which engine is measured: the built-in one, or that of `--engine`."""

from __future__ import annotations

from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.engine import BuiltIn
from blobdiag.targets.external.engine import ExternalEngine
from blobdiag.targets.protocol import MeasuredEngine


def engine_of(settings: Settings) -> MeasuredEngine:
    """Raises UserError, in one line, for what could not be played."""
    return BuiltIn(settings) if settings.engine is None else ExternalEngine(settings)
