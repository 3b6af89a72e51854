"""`run`: on which device does a program call its networks, and how busy are its GPUs?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from blobdiag.diagnosis.checks.common import MIN_PHASE_S, check
from blobdiag.diagnosis.checks.idle import IDLE_CHECK, lines, no_hole, seen
from blobdiag.diagnosis.checks.program import forwards
from blobdiag.diagnosis.checks.utilisation import gpu_utilisation
from blobdiag.diagnosis.command_judgement import Judgement
from blobdiag.diagnosis.expectations import Expectation
from blobdiag.diagnosis.facts import Window, expectations, spans
from blobdiag.diagnosis.idle import bounds
from blobdiag.diagnosis.program import CUDA, MARKERS, expected, gpus_used, uses_gpu
from blobdiag.model.activity import HOLE_IN_SAMPLES, MAX_HOLE_S
from blobdiag.model.base import Role, Status
from blobdiag.model.judgement import Check, Validity
from blobdiag.model.names import SELF_PLAY, TRAINING
from blobdiag.model.program import Program
from blobdiag.model.report import Report

WHOLE_RUN = "whole run"


def judge(report: Report) -> Judgement:
    """Judge a report's program; no checks without a program."""
    return Judgement(checks=program_checks(report))


def program_checks(report: Report) -> list[Check]:
    """The checks of the device, the GPU's utilisation and its idle gaps.

    The device check is always deciding. The others are deciding only in phases that the program
    marked as self-play or training: outside of them a GPU may rightly be idle.
    """
    if report.program is None:
        return []
    return [forwards(report, report.program), *_of_the_gpu(report, report.program)]


def _of_the_gpu(report: Report, program: Program) -> list[Check]:
    """Utilisation and idle gaps of the marked phases (deciding), else of the whole run."""
    expected_values = expectations(report)
    not_applicable = _no_gpu_wanted(report, program)
    phases = {name: spans(report, name) for name in (SELF_PLAY, TRAINING)}
    marked = {name: within for name, within in phases.items() if within}
    if program.phases_from != MARKERS:
        marked = {}
    windows = marked or {WHOLE_RUN: [(0.0, report.seconds)]}
    role = Role.DECIDING if marked else Role.ADVISORY
    utilisation = [
        gpu_utilisation(
            report,
            gpus_used(report),
            name,
            within,
            _in_role(
                expected_values["training-gpu" if name == TRAINING else "self-play-gpu"], role
            ),
            not_applicable,
        )
        for name, within in windows.items()
    ]
    everything = [one for within in windows.values() for one in within]
    idle = _in_role(expected_values["idle-gap"], role)
    return [*utilisation, _no_gaps(report, everything, idle, not_applicable)]


def _in_role(expectation: Expectation, role: Role) -> Expectation:
    return expectation if role is Role.DECIDING else replace(expectation, role=role)


def _no_gpu_wanted(report: Report, program: Program) -> str | None:
    device = expected(report)
    if device is not None:
        return None if device.kind == CUDA else f"{device.kind} is expected: {device.because}"
    if not report.gpus:
        return "no device was asked for, and no GPU was seen"
    return "no process uses a GPU" if uses_gpu(program) is False else None


def _no_gaps(
    report: Report,
    within: Sequence[Window],
    expectation: Expectation,
    not_applicable: str | None,
) -> Check:
    """The check of the report's idle gaps; PASS requires samples that would show a gap."""
    assert expectation.high is not None
    used, gaps = gpus_used(report), report.idle_gaps
    if not_applicable:
        return check(IDLE_CHECK, expectation, Status.NOT_APPLICABLE, not_applicable)
    if not used:
        return check(IDLE_CHECK, expectation, Status.INCONCLUSIVE, "no GPU was sampled")
    if gaps:
        return check(IDLE_CHECK, expectation, Status.FAIL, seen(gaps), lines(gaps))
    rules = _visible(report, used, within, expectation.high)
    broken = next((rule for rule in rules if not rule.ok), None)
    status = Status.PASS if broken is None else Status.INCONCLUSIVE
    observed = f"{broken.rule}: {broken.observed}" if broken else "none seen"
    return check(IDLE_CHECK, expectation, status, observed, validity=rules)


def _visible(
    report: Report, used: Sequence[str], within: Sequence[Window], threshold: float
) -> list[Validity]:
    """The rules under which a gap longer than `threshold` seconds would have been seen."""
    start, end = bounds(within)
    finest = report.seconds_shortest_visible_gap
    points = max((len(s.times_s) for s in report.series), default=0)
    merged = 0.0 if report.activity else HOLE_IN_SAMPLES * report.seconds / max(1, points)
    return [
        Validity(
            rule="long enough",
            observed=f"{end - start:.1f} s",
            needed=f"≥ {MIN_PHASE_S:g} s",
            ok=end - start >= MIN_PHASE_S,
        ),
        Validity(
            rule="shortest gap that could be seen",
            observed="unknown" if finest is None else f"{finest:.1f} s",
            needed=f"≤ {threshold:g} s",
            ok=finest is not None and finest <= threshold,
        ),
        no_hole(report, used, within, max(MAX_HOLE_S, merged)),
    ]
