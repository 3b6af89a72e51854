"""What keeps the size of a report bounded, however long its run was."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.model.judgement import IdleGap
from blobdiag.model.recorded import Event

MOST_EVENTS = 400
MOST_GAPS = 400


def kept_events(events: Sequence[Event]) -> list[Event]:
    """All of them, or the first and the last half of MOST_EVENTS and a line between them."""
    half = MOST_EVENTS // 2
    left_out = len(events) - 2 * half
    if left_out <= 0:
        return list(events)
    note = Event(
        at_s=events[half].at_s, kind="left-out", text=f"{left_out:,} events are not listed"
    )
    return [*events[:half], note, *events[-half:]]


def kept_gaps(gaps: Sequence[IdleGap]) -> list[IdleGap]:
    """The longest MOST_GAPS of them, in order of their start."""
    longest = sorted(gaps, key=lambda gap: -gap.seconds)[:MOST_GAPS]
    return sorted(longest, key=lambda gap: gap.start_s)
