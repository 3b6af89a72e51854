"""From checks to a verdict, an exit code and a sentence with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.checks.common import broken
from blobdiag.model.base import Role, Status
from blobdiag.model.judgement import Check


def verdict(checks: Sequence[Check]) -> tuple[Status, int, str]:
    """(verdict, exit code, one sentence that names the deciding check).

    Exit code 1: a deciding check failed on valid evidence. Else 3: a deciding check is inconclusive
    or has invalid evidence, or there are no checks. Else 0. Advisory checks and checks that are NOT
    APPLICABLE are ignored.
    """
    applicable = [
        c for c in checks if c.role is Role.DECIDING and c.status is not Status.NOT_APPLICABLE
    ]
    failed = [c for c in applicable if c.status is Status.FAIL and c.valid]
    open_ = [c for c in applicable if c.status is Status.INCONCLUSIVE or not c.valid]
    if failed:
        return Status.FAIL, 1, _failed(failed)
    if open_:
        return Status.INCONCLUSIVE, 3, _undecided(open_)
    if not checks:
        return Status.INCONCLUSIVE, 3, "Nothing was checked."
    if not applicable:
        return Status.NOT_APPLICABLE, 0, "No deciding check applies here."
    names = ", ".join(c.name for c in applicable)
    return Status.PASS, 0, f"Every deciding check passed: {names}."


def _failed(checks: Sequence[Check]) -> str:
    first = checks[0]
    text = f"{first.name}: {first.observation} (expected: {first.expectation})"
    return text + _more(checks, "failed")


def _undecided(checks: Sequence[Check]) -> str:
    first = checks[0]
    if first.status is Status.INCONCLUSIVE:
        return f"{first.name} cannot be judged: {first.observation}" + _more(checks, "undecided")
    return (
        f"{first.name}: {first.status} ignored: invalid evidence: {broken(first.validity)}"
        + _more(checks, "undecided")
    )


def _more(checks: Sequence[Check], what: str) -> str:
    others = ", ".join(c.name for c in checks[1:])
    return f"; also {what}: {others}." if others else "."
