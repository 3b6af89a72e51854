"""What a cause is: how it is named and documented, and how a report shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from blobdiag.model.judgement import Finding, Gain
from blobdiag.model.program import Program
from blobdiag.model.report import Report


class Seen(NamedTuple):
    """What a report shows of a cause, and what to do about it."""

    title: str
    cause: str
    evidence: list[str]
    remedy: str
    gain: Gain


class Cause(NamedTuple):
    """An entry of the catalogue."""

    name: str
    rank: int
    """Place among findings whose gain is unknown, lowest first."""
    summary: str
    """What is wrong, in a sentence without its full stop."""
    seen_as: str
    """What must be seen for the cause to be found."""
    in_engine: Callable[[Report], Seen | None] | None = None
    """Finds it in the telemetry of a self-play engine; None: not known there."""
    in_program: Callable[[Report, Program], Seen | None] | None = None
    """Finds it in the counts of a watched program; None: not known there."""

    def find(self, report: Report) -> Finding | None:
        """The finding, or None where the report does not show this cause."""
        if report.program is not None:
            seen = self.in_program(report, report.program) if self.in_program else None
        else:
            seen = self.in_engine(report) if self.in_engine else None
        return None if seen is None else Finding(name=self.name, **seen._asdict())
