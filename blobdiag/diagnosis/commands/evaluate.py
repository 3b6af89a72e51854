"""`evaluate`: how strong is a network against other networks and rule-based players?"""

from __future__ import annotations

from blobdiag.diagnosis.command_judgement import Judgement
from blobdiag.model.base import Role, Status
from blobdiag.model.figures import figure, signed
from blobdiag.model.judgement import Check
from blobdiag.model.report import Report
from blobdiag.model.training import Match


def judge(report: Report) -> Judgement:
    """Judge each match by its finished deals; all checks are advisory."""
    matches = report.matches
    if not matches:
        return Judgement()
    results = "; ".join(f"{_result(match)} against {match.opponent}" for match in matches)
    return Judgement(
        headline=f"{matches[0].player}, points a deal ahead: {results}.",
        checks=[_stronger(match) for match in matches],
    )


def _result(match: Match) -> str:
    """The score difference as text: '+0.52 (+0.35 to +0.69)'."""
    interval = match.difference.interval
    between = f" ({interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    return signed(match.difference) + between


def _stronger(match: Match) -> Check:
    """An advisory check that the player is stronger: PASS if the whole interval is above 0."""
    interval = match.difference.interval
    status = Status.INCONCLUSIVE
    if interval is not None and interval.low > 0:
        status = Status.PASS
    elif interval is not None and interval.high < 0:
        status = Status.FAIL
    half = None if interval is None else (interval.high - interval.low) / 2
    return Check(
        name=f"ahead of {match.opponent}",
        role=Role.ADVISORY,
        status=status,
        expectation="> 0 points a deal, with the whole interval",
        source="duplicate deals, 95 % interval clustered by deal",
        observation=f"{_result(match)} in {match.deals:,} deals",
        evidence=[_deals_for(match, half)] if half and status is Status.INCONCLUSIVE else [],
        validity=[],
    )


def _deals_for(match: Match, half: float) -> str:
    """How many deals a difference as large as the observed one needs to be significant."""
    seen = abs(match.difference.value or 0.0)
    if seen < half / 10:
        return "no difference in strength was found with these deals"
    deals = round(match.deals * (half / seen) ** 2)
    return f"a difference of {figure(seen)} points needs about {deals:,} deals to be significant"
