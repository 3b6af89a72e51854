"""Sessions of the built-in engine in which nothing is measured."""

from __future__ import annotations

from blobdiag.measure.measurement import Measurement
from blobdiag.measure.session import Session
from blobdiag.model.settings import Settings
from blobdiag.render.live import LiveView, console_on_stderr
from blobdiag.targets.builtin.engine import BuiltIn


def new_session(settings: Settings, command: str = "iteration") -> Session:
    """On the CPU, with a live view that shows nothing."""
    return Session(
        Measurement(command, "cpu", settings, lambda session: None),
        settings,
        BuiltIn(settings),
        lambda session: LiveView(console_on_stderr(), True, list, str),
    )
