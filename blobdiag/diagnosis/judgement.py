"""What judging a report comes to, before the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

from blobdiag.model.base import Metric
from blobdiag.model.judgement import Check, Validity
from blobdiag.model.plan import Plan


@dataclass(frozen=True)
class Judgement:
    """Of one command's report."""

    headline: str = ""
    """The answer to the command's question, in a sentence."""
    checks: list[Check] = field(default_factory=list)
    validity: list[Validity] = field(default_factory=list)
    untested: str | None = None
    """Why the question could not be asked, where no GPU was measured; None: it was asked."""
    plan: Plan | None = None
    projected: Metric | None = None
    """What the plan's rates make of the iterations that were run."""
    problem: str | None = None
    """Why there is no answer although the run came to its end."""
    remark: str | None = None
    """Why there is no plan; it costs nothing."""
