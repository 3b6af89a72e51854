"""`blobdiag check-gpu --verify-fix`: apply a remedy, measure again, keep both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from blobdiag.measure.session import Session
from blobdiag.model.faults import parse
from blobdiag.model.judgement import Finding, Verification
from blobdiag.model.settings import Settings
from blobdiag.model.statistics import evaluations_ratio
from blobdiag.targets.protocol import Arm

PHASE = "self-play, remedied"


def larger_batches(settings: Settings) -> Settings:
    """As many workers and lanes as fill the batches; no rows kept out of them."""
    return replace(_without(settings, "tiny-batches"), workers=None, lanes=None)


def own_cores(settings: Settings) -> Settings:
    """One computing thread a core."""
    return replace(_without(settings, "oversubscription"), workers=None, threads=None)


REMEDIES: dict[str, tuple[str, Callable[[Settings], Settings]]] = {
    "tiny-batches": ("the engine's own workers and lanes, full batches", larger_batches),
    "cpu-oversubscription": ("one computing thread a core", own_cores),
}
"""By finding: the remedy that can be applied here, in words and to the settings."""


def _without(settings: Settings, fault: str) -> Settings:
    """The settings without the injected fault, where it is that one."""
    injected = settings.inject is not None and parse(settings.inject)[0].name == fault
    return replace(settings, inject=None) if injected else settings


def verify_fix(session: Session, arm: Arm, findings: list[Finding]) -> None:
    """Measure the costliest finding's remedy beside `arm`'s windows; an event where there is none.

    The remedied engine is no arm of the session: nothing but the verification speaks of it.
    """
    finding = next((one for one in findings if one.name in REMEDIES), None)
    if finding is None:
        names = " and ".join(REMEDIES)
        session.event("not-verified", f"nothing to verify: a fix is known for {names} only")
        return
    words, apply = REMEDIES[finding.name]
    remedied = apply(session.settings)
    if remedied == session.settings:
        session.event("not-verified", f"{finding.name}: the settings are {words} already")
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
