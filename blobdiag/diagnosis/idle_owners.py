"""Who held the device up during an idle gap: the lines of Python at which processes stood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blobdiag.model.judgement import IdleGap
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Hold


class Holder(NamedTuple):
    """A process of the run, and where it stood while the device waited."""

    who: str
    """'the parent' or 'worker 3'."""
    hold: Hold


def holders(report: Report, gaps: Sequence[IdleGap]) -> list[Holder]:
    """What was held in the phases of these gaps, the longest first; empty where nothing was seen.

    A hold is known by its phase only, so holds of the same phase outside the gaps count too.
    """
    phases = {name for gap in gaps for name in (gap.phase or "").split(" → ")}
    # Between two phases a process may be in one that has a name of its own.
    phases |= {
        phase.name
        for phase in report.phases
        for gap in gaps
        if phase.start_s < gap.end_s and gap.start_s < phase.end_s
    }
    held = [Holder("the parent", hold) for hold in report.holds]
    held += [Holder(f"worker {w.worker}", hold) for w in report.workers for hold in w.holds]
    held = [holder for holder in held if holder.hold.phase in phases]
    return sorted(held, key=lambda holder: holder.hold.seconds, reverse=True)
