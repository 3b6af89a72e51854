"""`blobdiag check-gpu --verify-fix`: apply a remedy, measure again, report both results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from blobdiag.measure.session import Session
from blobdiag.model.faults import parse
from blobdiag.model.judgement import Finding, Verification
from blobdiag.model.settings import Settings
from blobdiag.model.statistics import evaluations_ratio
from blobdiag.targets.measured_engine import Arm

PHASE = "self-play, remedied"


def larger_batches(settings: Settings) -> Settings:
    """The settings with the engine's own workers and lanes, and full batches."""
    return replace(_without(settings, "tiny-batches"), workers=None, lanes=None)


def own_cores(settings: Settings) -> Settings:
    """The settings with one computing thread per core."""
    return replace(_without(settings, "oversubscription"), workers=None, threads=None)


REMEDIES: dict[str, tuple[str, Callable[[Settings], Settings]]] = {
    "tiny-batches": ("the engine's own workers and lanes, full batches", larger_batches),
    "cpu-oversubscription": ("one computing thread per core", own_cores),
}
"""By finding: the remedy in words, and the function that applies it to the settings."""


def _without(settings: Settings, fault: str) -> Settings:
    """The settings without the injected fault if it is `fault`."""
    injected = settings.inject is not None and parse(settings.inject)[0].name == fault
    return replace(settings, inject=None) if injected else settings


def verify_fix(session: Session, arm: Arm, findings: list[Finding]) -> None:
    """Apply the costliest finding's remedy, measure it and compare it with `arm`'s windows.

    Records an event if no finding has a remedy to apply. The remedied engine is not an arm of the
    session: only the verification holds its figures.
    """
    finding = next((one for one in findings if one.name in REMEDIES), None)
    if finding is None:
        names = " and ".join(REMEDIES)
        session.event("not-verified", f"no fix to verify: only {names} have one")
        return
    words, apply = REMEDIES[finding.name]
    remedied = apply(session.settings)
    if remedied == session.settings:
        session.event("not-verified", f"{finding.name}: already applied: {words}")
        return
    fixed = session.engine.arm(remedied, arm.device)
    session.at_work.append(fixed)
    with session.phase(PHASE, arm.device), closing(fixed), session.time_left():
        fixed.start(lambda processes: None)
        fixed.warm_up(session.show_games)
        fixed.measure(remedied.min_seconds, remedied.games, session.show_games)
    before, after = arm.throughput(), fixed.throughput()
    session.verification = Verification(
        finding=finding.name,
        remedy=words,
        predicted=finding.gain.self_play_factor if finding.gain else None,
        before=before.evaluations_per_second,
        after=after.evaluations_per_second,
        realised=evaluations_ratio(after.blocks, before.blocks),
    )
