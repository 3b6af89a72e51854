"""What an iteration is worth: its search, its training, and the time between."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.facts import (
    asked,
    figure_of,
    self_play_minutes,
    term_minutes,
    windows,
)
from blobdiag.diagnosis.findings.flags import flag
from blobdiag.diagnosis.idle_owners import holders
from blobdiag.model.judgement import Finding, Gain, IdleGap
from blobdiag.model.names import SELF_PLAY, TRAINING
from blobdiag.model.report import Report

# Healthy searches reach 0.99 (design, §3); a public engine with 78 % repeated leaves 0.22.
COLLAPSED_DISTINCT_SHARE = 0.9
# KataGo trains each example 4 times; beyond four times that the network learns the examples.
KATAGO_REUSE = 4.0
MOST_REUSE = 16.0
# What is trained on more often than was asked for was counted wrong.
REUSE_EXCESS = 2.0
MOST_HOLDS = 3


def search_collapsed(report: Report) -> Finding | None:
    """The search evaluates the same few nodes again and again: fast, and worth nothing."""
    shares = {
        t.device: t.search_health.distinct_share
        for t in report.throughput
        if t.search_health.distinct_share is not None
        and t.search_health.distinct_share < COLLAPSED_DISTINCT_SHARE
    }
    if not shares:
        return None
    minutes, worst = self_play_minutes(report), min(shares.values())
    return Finding(
        name="search-collapsed",
        title="The search evaluates the same nodes again and again",
        cause=(
            "Several leaves of one tree are collected before any is expanded, so most are the "
            "same unexpanded node. Games/min look good, but the policy is close to uniform."
        ),
        evidence=[f"{d}: {s:.0%} of evaluations were of distinct nodes" for d, s in shares.items()],
        remedy="Batch across trees, one leaf per tree per step, not within one tree.",
        gain=gains.saved(
            None if minutes is None else minutes * (1 - worst),
            "the share of evaluations that repeat a node, of self-play's minutes; games/min need "
            "not rise, but the games are worth training on",
        ),
    )


def overfitted_by_reuse(report: Report) -> Finding | None:
    """Each example is trained on many times its share."""
    wanted = report.plan.reuse if report.plan else KATAGO_REUSE
    seen = figure_of(report, "each example trained on")
    times = max(wanted if report.plan else 0.0, seen or 0.0)
    excess = seen is not None and seen > REUSE_EXCESS * max(1.0, wanted)
    if times <= MOST_REUSE and not excess:
        return None
    minutes = term_minutes(report, TRAINING)
    evidence = [f"each example is trained on {times:,.1f} times"]
    if report.plan:
        evidence.append(f"asked for: {wanted:g} times; KataGo's figure is {KATAGO_REUSE:g}")
    target = KATAGO_REUSE if times > MOST_REUSE else wanted
    return Finding(
        name="overfitted-by-reuse",
        title=f"Each example is trained on {times:,.0f} times",
        cause=(
            "Training runs for a fixed time or number of steps, whatever the games give it: the "
            "network learns its examples by heart, and plays no better for it."
        ),
        evidence=evidence,
        remedy=(
            f"Train on each example {target:g} times{flag(report, f'--reuse {target:g}')}: steps = "
            f"new examples × {target:g} ÷ batch size"
        ),
        gain=gains.saved(
            None if minutes is None else minutes * (1 - target / times),
            f"the training's minutes beyond {target:g} times each",
        )
        if minutes is not None
        else gains.unknown("this run has no plan with a training"),
    )


def idle_gap_between_phases(report: Report) -> Finding | None:
    """The device waits, at a change of phase or inside one."""
    gaps = report.idle_gaps
    if not gaps:
        return None
    names = {gpu.uuid: gpu.name for gpu in report.gpus} | {"cpu": "the CPU"}
    return Finding(
        name="idle-gap-between-phases",
        title=f"The device stood idle for {sum(gap.seconds for gap in gaps):.1f} s",
        cause="Work without the device (start-up, saving, copying) holds up work that needs it.",
        evidence=[
            f"{names.get(g.device, g.device)}: {g.start_s:.1f} to {g.end_s:.1f} s, {g.phase}"
            for g in gaps
        ]
        + _holders(report, gaps),
        remedy="Keep workers alive between phases; prepare the next one before this one ends.",
        gain=_gain_without(report, gaps),
    )


def _holders(report: Report, gaps: list[IdleGap]) -> list[str]:
    """Where Python stood meanwhile, the longest first."""
    return [
        f"{who} stood at {hold.where} for {hold.seconds:.1f} s, {hold.share:.0%} of its waiting"
        for who, hold in holders(report, gaps)[:MOST_HOLDS]
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
    """Seconds of the device that stood idle longest: those of several pass at the same time."""
    by_device: dict[str, float] = {}
    for gap in gaps:
        by_device[gap.device] = by_device.get(gap.device, 0.0) + gap.seconds
    return max(by_device.values(), default=0.0)
