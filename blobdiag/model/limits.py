"""Limits on the size of a report, independent of the length of its run."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.model.judgement import IdleGap
from blobdiag.model.recorded import Event

MOST_EVENTS = 400
MOST_GAPS = 400


def first_and_last_events(events: Sequence[Event]) -> list[Event]:
    """The first and last MOST_EVENTS ÷ 2 events, with one between that counts those left out."""
    half = MOST_EVENTS // 2
    left_out = len(events) - 2 * half
    if left_out <= 0:
        return list(events)
    note = Event(
        at_s=events[half].at_s, kind="left-out", text=f"{left_out:,} events are not listed"
    )
    return [*events[:half], note, *events[-half:]]


def longest_gaps(gaps: Sequence[IdleGap]) -> list[IdleGap]:
    """The MOST_GAPS longest gaps, in order of their start."""
    longest = sorted(gaps, key=lambda gap: -gap.seconds)[:MOST_GAPS]
    return sorted(longest, key=lambda gap: gap.start_s)
