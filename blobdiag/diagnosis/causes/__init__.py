"""The catalogue of causes: one module a cause, each a pure function from a report to a finding.

A finding names a cause, so it must be plainly there: what was not measured never makes one, and
thresholds lie well outside what healthy runs show. Findings rest on the saved report alone.

To add a cause, add a module with `CAUSE = Cause(...)`; modules whose name begins with an underscore
hold what several causes share.
"""

from __future__ import annotations

from importlib import import_module
from math import inf
from pkgutil import iter_modules

from blobdiag.diagnosis.causes._cause import Cause
from blobdiag.model.judgement import Finding
from blobdiag.model.report import Report


def _catalogue() -> dict[str, Cause]:
    """Every cause of this package by its name, in order of rank."""
    modules = (module.name for module in iter_modules(__path__))
    causes: list[Cause] = [
        import_module(f"{__name__}.{name}").CAUSE for name in modules if not name.startswith("_")
    ]
    return {cause.name: cause for cause in sorted(causes, key=lambda cause: cause.rank)}


CATALOGUE = _catalogue()


def find_all(report: Report) -> list[Finding]:
    """Every cause that the report shows, the costliest first.

    Ordered by the minutes of an iteration that the remedy is predicted to save; findings of unknown
    gain come last, by rank.
    """
    found = [cause.find(report) for cause in CATALOGUE.values()]
    return sorted((finding for finding in found if finding), key=_cost, reverse=True)


def _cost(finding: Finding) -> float:
    minutes = finding.gain.minutes_per_iteration if finding.gain else None
    return -inf if minutes is None else minutes
