"""The result of judging one command's report, before the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

from blobdiag.model.base import Metric
from blobdiag.model.judgement import Check, Validity
from blobdiag.model.plan import Plan


@dataclass(frozen=True)
class Judgement:
    """Checks, rules, plan and sentences from which the verdict is made."""

    headline: str = ""
    """One sentence that answers the command's question; empty if there is no answer."""
    checks: list[Check] = field(default_factory=list)
    validity: list[Validity] = field(default_factory=list)
    untested: str | None = None
    """Why no GPU was tested; None if one was."""
    plan: Plan | None = None
    projected: Metric | None = None
    """The seconds that the plan's rates predict for the measured iterations."""
    problem: str | None = None
    """Why a complete run gives no answer; makes the verdict INCONCLUSIVE."""
    remark: str | None = None
    """Why there is no plan; does not change the verdict."""
