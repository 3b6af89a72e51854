"""Idle gaps of a watched program's GPUs."""

from __future__ import annotations

from blobdiag.diagnosis.facts import expectations
from blobdiag.diagnosis.idle import activity, phase_at
from blobdiag.diagnosis.program import MARKERS, gpus_used
from blobdiag.model.judgement import IdleGap
from blobdiag.model.report import Report


def program_gaps(report: Report) -> list[IdleGap]:
    """Idle gaps longer than the expectation's upper end, in order of their start.

    They are searched from the first marked phase to the last, else from the GPU's first activity to
    its last: before and after, a program loads or shuts down.
    """
    threshold = expectations(report)["idle-gap"].high
    if threshold is None or report.program is None:
        return []
    marked = report.program.phases_from == MARKERS and report.phases
    gaps = []
    for uuid in gpus_used(report):
        one = activity(report, uuid)
        if one is None or one.first_busy_s is None or one.last_busy_s is None:
            continue
        start, end = one.first_busy_s, one.last_busy_s
        if marked:
            start = min(phase.start_s for phase in report.phases)
            end = max(phase.end_s for phase in report.phases)
        for stretch in one.idle:
            first, last = max(stretch.start_s, start), min(stretch.end_s, end)
            if last - first > threshold:
                where = phase_at(report, first, last)
                gaps.append(IdleGap(device=uuid, start_s=first, end_s=last, phase=where))
    return sorted(gaps, key=lambda gap: gap.start_s)
