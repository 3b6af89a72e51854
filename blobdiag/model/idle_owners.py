"""Which code kept a device waiting: the lines of Python at which processes were in an idle gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blobdiag.model.judgement import IdleGap
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Hold


class IdleOwner(NamedTuple):
    """A process of the run, and the line it was at while the device waited."""

    process: str
    """'the parent' or 'worker 3'."""
    hold: Hold


def all_idle_owners(report: Report, most: int | None = None) -> list[IdleOwner]:
    """Every line that kept a device waiting, process by process, at most `most` of each."""
    return [
        *(IdleOwner("the parent", hold) for hold in report.holds[:most]),
        *(IdleOwner(f"worker {w.worker}", h) for w in report.workers for h in w.holds[:most]),
    ]


def idle_owners(report: Report, gaps: Sequence[IdleGap]) -> list[IdleOwner]:
    """Those of the phases of these gaps, the longest first; empty where nothing was seen.

    A hold names its phase only, so holds of the same phase outside the gaps count too.
    """
    phases = {name for gap in gaps for name in (gap.phase or "").split(" → ")}
    # Between two phases a process may be in one that has a name of its own.
    phases |= {
        phase.name
        for phase in report.phases
        for gap in gaps
        if phase.start_s < gap.end_s and gap.start_s < phase.end_s
    }
    owners = [owner for owner in all_idle_owners(report) if owner.hold.phase in phases]
    return sorted(owners, key=lambda owner: owner.hold.seconds, reverse=True)
