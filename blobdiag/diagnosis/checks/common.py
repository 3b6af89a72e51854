"""Construction of checks, and rules of validity that several checks share.

An unknown figure makes a check INCONCLUSIVE, never PASS. If a check does not apply, the caller
passes the reason as `not_applicable` ("the device is cpu").
"""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.expectations import Expectation
from blobdiag.diagnosis.facts import MIN_SAMPLES
from blobdiag.model.base import Status
from blobdiag.model.judgement import Check, Validity

# A shorter phase holds too few of NVML's averaging windows (1/6 to 1 s).
MIN_PHASE_S = 5.0


def check(
    name: str,
    expectation: Expectation,
    status: Status,
    observation: str,
    evidence: Sequence[str] = (),
    validity: Sequence[Validity] = (),
) -> Check:
    """A check with the role, range and source of `expectation`."""
    return Check(
        name=name,
        role=expectation.role,
        status=status,
        expectation=str(expectation),
        observation=observation,
        evidence=list(evidence),
        validity=list(validity),
        source=expectation.source,
    )


def unknown(name: str, expectation: Expectation, why: str) -> Check:
    """An INCONCLUSIVE check; `why` is its observation."""
    return check(name, expectation, Status.INCONCLUSIVE, why)


def with_validity(one: Check, rules: Sequence[Validity]) -> Check:
    """The check with these rules added; unchanged if it is NOT APPLICABLE."""
    if one.status is Status.NOT_APPLICABLE:
        return one
    return one.model_copy(update={"validity": [*one.validity, *rules]})


def long_enough(seconds: float) -> Validity:
    """The rule that a phase is long enough to be judged."""
    return Validity(
        rule="phase long enough",
        observed=f"{seconds:.1f} s",
        needed=f"≥ {MIN_PHASE_S:g} s",
        ok=seconds >= MIN_PHASE_S,
    )


def enough_samples(samples: int) -> Validity:
    """The rule that a mean has enough samples."""
    return Validity(
        rule="enough samples",
        observed=f"{samples}",
        needed=f"≥ {MIN_SAMPLES}",
        ok=samples >= MIN_SAMPLES,
    )


def broken(rules: Sequence[Validity]) -> str | None:
    """The first broken rule, in words; None if all hold."""
    rule = next((rule for rule in rules if not rule.ok), None)
    return None if rule is None else f"{rule.rule}: {rule.observed}, needed {rule.needed}"


def counted(number: int, what: str) -> str:
    """'1 gap', '3 gaps'."""
    return f"{number} {what}{'' if number == 1 else 's'}"
