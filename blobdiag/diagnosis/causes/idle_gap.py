"""A device without work, at a change of phase or inside one."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.facts import asked, self_play_minutes, windows
from blobdiag.model.idle_owners import idle_owners
from blobdiag.model.judgement import Gain, IdleGap
from blobdiag.model.names import SELF_PLAY
from blobdiag.model.program import Program
from blobdiag.model.report import Report

MOST_OWNERS = 3


def _seen(report: Report) -> Seen | None:
    gaps = report.idle_gaps
    if not gaps:
        return None
    names = {gpu.uuid: gpu.name for gpu in report.gpus} | {"cpu": "the CPU"}
    return Seen(
        title=f"The device was idle for {sum(gap.seconds for gap in gaps):.1f} s",
        cause="Work without the device (start-up, saving, copying) delays work that needs it.",
        evidence=[
            f"{names.get(g.device, g.device)}: {g.start_s:.1f} to {g.end_s:.1f} s, {g.phase}"
            for g in gaps
        ]
        + _owner_lines(report, gaps),
        remedy="Keep workers alive between phases; prepare the next phase before this one ends.",
        gain=_gain_without(report, gaps),
    )


def _in_program(report: Report, program: Program) -> Seen | None:
    return _seen(report)


def _owner_lines(report: Report, gaps: list[IdleGap]) -> list[str]:
    """Where Python code kept the device waiting, the longest first."""
    return [
        f"{owner.process} spent {owner.hold.seconds:.1f} s at {owner.hold.where}, "
        f"{owner.hold.share:.0%} of its waiting"
        for owner in idle_owners(report, gaps)[:MOST_OWNERS]
    ]


def _gain_without(report: Report, gaps: list[IdleGap]) -> Gain:
    """A gap inside self-play recurs with its games; one between phases comes once an iteration."""
    plays = windows(report)
    played = sum(end - start for start, end in plays)
    inside = _longest([g for g in gaps if any(s <= g.start_s and g.end_s <= e for s, e in plays)])
    between = _longest([g for g in gaps if g.phase != SELF_PLAY]) if report.plan else 0.0
    minutes, factor = self_play_minutes(report), None
    if inside and 0 < inside < played and asked(report) is not None:
        factor = played / (played - inside)
    if minutes is None and not between:
        return gains.unknown("this run has no plan")
    share = inside / played if played else 0.0
    return Gain(
        minutes_per_iteration=between / 60 + (minutes or 0.0) * share,
        self_play_factor=factor,
        basis=" and ".join(
            [f"{between:.1f} s outside self-play, once an iteration"] * bool(between)
            + [f"{share:.0%} of self-play's time, which recurs with its games"] * bool(share)
        ),
    )


def _longest(gaps: list[IdleGap]) -> float:
    """Seconds of the device that was idle longest: gaps of several pass at the same time."""
    by_device: dict[str, float] = {}
    for gap in gaps:
        by_device[gap.device] = by_device.get(gap.device, 0.0) + gap.seconds
    return max(by_device.values(), default=0.0)


CAUSE = Cause(
    name="idle-gap-between-phases",
    rank=80,
    summary="The device waits at a change of phase, or inside one",
    seen_as=(
        "a GPU at 0 %, or a CPU run's processes at next to nothing, for more than a second in "
        "phases that should work, or between a program's first and last work on the GPU"
    ),
    in_engine=_seen,
    in_program=_in_program,
)
