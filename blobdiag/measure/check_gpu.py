"""`blobdiag check-gpu`: a window of self-play on the GPU; without one, workers on torch's meta."""

from __future__ import annotations

from collections.abc import Callable

from blobdiag.measure.measurement import Measurement
from blobdiag.measure.session import Session
from blobdiag.measure.session_report import session_report
from blobdiag.measure.verify_fix import verify_fix
from blobdiag.model.judgement import Finding
from blobdiag.model.names import SELF_PLAY, SET_UP, WARM_UP
from blobdiag.model.report import Report
from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.devices import DeviceUnavailable

Diagnose = Callable[[Report], list[Finding]]
"""Finds the causes in an unjudged report."""


def check_gpu(settings: Settings, diagnose: Diagnose | None = None) -> Measurement:
    """Measure a window of self-play on the GPU.

    With `diagnose` the costliest finding's remedy is applied and measured as well.
    """
    device = "cuda" if settings.device == "auto" else settings.device

    def measure(session: Session) -> None:
        try:
            with session.phase(SET_UP):
                arm = session.engine.arm(session.settings, device)
        except DeviceUnavailable as error:
            session.failure = str(error)
            if diagnose is not None:
                session.event("not-verified", "no fix to verify: the device is unavailable")
            _start_on_proof_device(session)
            return
        with session.playing(arm):
            with session.phase(WARM_UP, device):
                arm.warm_up(session.show_games)
            with session.phase(SELF_PLAY, device):
                session.window(arm, settings.min_seconds, settings.games)
            session.probe(arm)
        if diagnose is not None:
            verify_fix(session, arm, diagnose(session_report(session)))

    return Measurement("check-gpu", device, settings, measure)


def _start_on_proof_device(session: Session) -> None:
    """Start real workers on torch's meta device, to record whether a device reaches them."""
    device = session.engine.proof_device
    if device is not None:
        with session.playing(session.engine.arm(session.settings, device)):
            pass
