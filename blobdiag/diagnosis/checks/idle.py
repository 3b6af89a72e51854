"""Check for idle gaps of a GPU in phases in which it should work."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.checks.common import broken, check, counted, long_enough, unknown
from blobdiag.diagnosis.expectations import Expectation
from blobdiag.diagnosis.facts import Window
from blobdiag.diagnosis.idle import bounds, gpu_gaps, longest_hole
from blobdiag.model.activity import MAX_HOLE_S
from blobdiag.model.base import Status
from blobdiag.model.judgement import Check, IdleGap, Validity
from blobdiag.model.report import Report

IDLE_CHECK = "no idle gap"


def no_idle_gaps(
    report: Report,
    gpu_uuids: Sequence[str],
    within: Sequence[Window],
    expectation: Expectation,
    not_applicable: str | None = None,
) -> Check:
    """Check that no GPU was at 0 % for longer than the expectation's upper end, in seconds.

    FAIL needs no minimum length of the run. PASS requires windows that are long enough and samples
    without a hole that could hide a gap. Raises ValueError for an expectation without upper end.
    """
    if not_applicable:
        return check(IDLE_CHECK, expectation, Status.NOT_APPLICABLE, not_applicable)
    if expectation.high is None:
        raise ValueError("the idle gap's expectation needs an upper end")
    if not gpu_uuids or not within:
        missing = "no phase in which the GPU should work" if gpu_uuids else "no GPU was sampled"
        return unknown(IDLE_CHECK, expectation, missing)
    gaps = gpu_gaps(report, gpu_uuids, within, expectation.high)
    if gaps:
        return check(IDLE_CHECK, expectation, Status.FAIL, seen(gaps), lines(gaps))
    start, end = bounds(within)
    rules = [
        long_enough(end - start),
        no_hole(report, gpu_uuids, within, min(expectation.high, MAX_HOLE_S)),
    ]
    short = broken(rules)
    if short is None:
        return check(IDLE_CHECK, expectation, Status.PASS, "none seen", validity=rules)
    return check(IDLE_CHECK, expectation, Status.INCONCLUSIVE, short, validity=rules)


def no_hole(
    report: Report, gpu_uuids: Sequence[str], within: Sequence[Window], allowed: float
) -> Validity:
    """The rule that every GPU was sampled without a hole longer than `allowed` seconds."""
    hole = longest_hole(report, gpu_uuids, within)
    return Validity(
        rule="samples without a hole",
        observed=f"longest {hole:.1f} s" if hole else "none",
        needed=f"≤ {allowed:g} s",
        ok=hole <= allowed,
    )


def seen(gaps: Sequence[IdleGap]) -> str:
    """The number of gaps and the longest: '3 gaps, the longest 2.1 s (training)'."""
    longest = max(gaps, key=lambda gap: gap.seconds)
    return f"{counted(len(gaps), 'gap')}, the longest {longest.seconds:.1f} s ({longest.phase})"


def lines(gaps: Sequence[IdleGap]) -> list[str]:
    """One line of evidence per gap."""
    return [
        f"{g.device}: {g.start_s:.1f} to {g.end_s:.1f} s, {g.seconds:.1f} s, {g.phase}"
        for g in gaps
    ]
