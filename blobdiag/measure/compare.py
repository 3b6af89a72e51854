"""`blobdiag compare`: self-play on each device in turn, with the same seeds."""

from __future__ import annotations

from contextlib import ExitStack

from blobdiag.measure.measurement import Measurement
from blobdiag.measure.session import Session
from blobdiag.model.device import Device
from blobdiag.model.names import SELF_PLAY, SET_UP, WARM_UP
from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.devices import resolve_auto
from blobdiag.targets.measured_engine import Arm

ROUNDS = 4
"""Windows per arm. The arms alternate, so that a slow drift of the machine affects both alike."""


def compare(settings: Settings) -> Measurement:
    """Measure on the CPU, and on the GPU if there is one."""
    device = resolve_auto(settings.device)
    devices = ["cpu"] if Device.of(device).on_cpu else ["cpu", device]

    def measure(session: Session) -> None:
        with session.phase(SET_UP):
            # The GPU first: if it is absent, this fails before anything is started.
            arms = {
                name: session.engine.arm(_settings_for(session, name), name)
                for name in reversed(devices)
            }
        if len(devices) > 1 and session.engine.unseen is None:
            with session.phase("outputs compared"):
                session.answers = arms[device].answers_differ()
        with ExitStack() as stack:
            for name in devices:
                stack.enter_context(session.playing(arms[name]))
                with session.phase(WARM_UP, name):
                    arms[name].warm_up(session.show_games)
            _play_in_turn(session, [arms[name] for name in devices])
            for name in devices:
                session.probe(arms[name])

    return Measurement("compare", device, settings, measure)


def _settings_for(session: Session, device: str) -> Settings:
    """Settings of one arm: those of `--tuned` hold for the session's device only."""
    return session.settings if device == session.device else session.as_asked


def _play_in_turn(session: Session, arms: list[Arm]) -> None:
    """Measure every arm for its seconds and games, in alternating windows."""
    settings, rounds = session.settings, ROUNDS if len(arms) > 1 else 1
    for _ in range(rounds):
        for arm in arms:
            with session.phase(SELF_PLAY, arm.device):
                session.window(arm, settings.min_seconds / rounds, -(-settings.games // rounds))
