"""What a report says against itself: a report that was edited, or merged of two."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from blobdiag.model.base import Role, Status
from blobdiag.model.report import Report

TOLERANCE_S = 1.0
"""Of when a process ended before it began: both are read from different clocks."""
ROUNDING_S = 1e-6


def contradiction(report: Report) -> str | None:
    """The first one, with the field that it is in; None: the report agrees with itself."""
    return next(_contradictions(report), None)


def _contradictions(report: Report) -> Iterator[str]:
    try:
        datetime.fromisoformat(report.started_utc)
    except ValueError:
        yield f"started_utc: {report.started_utc!r} is no date"
    if report.seconds < 0:
        yield f"seconds: a run of {report.seconds:g} s"
    yield from _of_the_verdict(report)
    for number, one in enumerate(report.series):
        if any(later < earlier - ROUNDING_S for earlier, later in pairwise(one.times_s)):
            yield f"series.{number}.times_s: times run backwards"
    for number, process in enumerate(report.program.processes if report.program else ()):
        if process.ended_s is not None and process.ended_s < process.started_s - TOLERANCE_S:
            yield f"program.processes.{number}: ended before it started"
    iterations = report.training.iterations if report.training else []
    for number, (before, after) in enumerate(pairwise(iterations)):
        if after.iteration <= before.iteration:
            yield (
                f"training.iterations.{number + 1}: iteration {after.iteration} after "
                f"{before.iteration}"
            )


def _of_the_verdict(report: Report) -> Iterator[str]:
    """Whether the verdict, the exit code and the checks can be of one run."""
    failed = [
        check.name
        for check in report.checks
        if check.role is Role.DECIDING and check.status is Status.FAIL and check.valid
    ]
    if report.verdict is Status.PASS and failed:
        yield f"verdict: PASS, but the deciding check {failed[0]} failed"
    if report.verdict is Status.FAIL and not failed:
        yield "verdict: FAIL, but no deciding check failed"
    if report.program is None:
        # Of a watched program the exit code is its own.
        if report.verdict is Status.PASS and report.exit_code != 0:
            yield f"exit_code: {report.exit_code}, but the verdict is PASS"
        if report.verdict is Status.FAIL and report.exit_code == 0:
            yield "exit_code: 0, but the verdict is FAIL"
