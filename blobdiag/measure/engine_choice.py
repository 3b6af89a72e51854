"""Choice of the measured engine: the built-in one, or the one that `--engine` names."""

from __future__ import annotations

from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.engine import BuiltIn
from blobdiag.targets.external.engine import ExternalEngine
from blobdiag.targets.measured_engine import MeasuredEngine


def engine_of(settings: Settings) -> MeasuredEngine:
    """The engine for these settings. Raises UserError for settings that it cannot play."""
    return BuiltIn(settings) if settings.engine is None else ExternalEngine(settings)
