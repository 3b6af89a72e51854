"""A search that evaluates the same few nodes again and again."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.facts import self_play_minutes
from blobdiag.model.report import Report

# Healthy searches reach 0.99 (docs/expectations.md#distinct-share); a public engine with 78 %
# repeated leaves 0.22.
COLLAPSED_DISTINCT_SHARE = 0.9


def _in_engine(report: Report) -> Seen | None:
    shares = {
        t.device: t.search_health.distinct_share
        for t in report.throughput
        if t.search_health.distinct_share is not None
        and t.search_health.distinct_share < COLLAPSED_DISTINCT_SHARE
    }
    if not shares:
        return None
    minutes, worst = self_play_minutes(report), min(shares.values())
    return Seen(
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


CAUSE = Cause(
    name="search-collapsed",
    rank=90,
    summary="The search evaluates the same few nodes again and again: fast, but useless games",
    seen_as=f"less than {100 * COLLAPSED_DISTINCT_SHARE:.0f} % of evaluations of distinct nodes",
    in_engine=_in_engine,
)
