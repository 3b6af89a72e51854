"""From checks to one verdict and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blobdiag.diagnosis.evidence import MIN_SAMPLES
from blobdiag.model.report import Check, Metric, Role, Status, Validity

# Runs of the same code differed by 3.7 % (design, §5); an interval this wide hides a tenth.
MOST_SPREAD = 0.1
# Of the usable cores. Others do no harm while the host has cores to spare.
MOST_OTHERS = 0.1
HOST_FULL_PERCENT = 90.0

ENOUGH_SAMPLES, STEADY_RATE = "enough samples", "steady rate"
RATE_RULES = (ENOUGH_SAMPLES, STEADY_RATE)
"""Rules that only a rate, and what is made of it, rests on."""


class Neighbours(NamedTuple):
    """What others did to the host's CPU while a window was measured."""

    cores_used: float
    cores_usable: int
    host_percent: float
    """Of all cores of the host, everyone together."""


def window_validity(
    window_seconds: float,
    needed_seconds: float,
    games: int,
    needed_games: int,
    *,
    warm_up_seconds: float,
    rate: Metric,
    samples: int,
    sampler_death: str | None = None,
    lost_workers: Sequence[int] = (),
    neighbours: Neighbours | None = None,
    throttled: Sequence[str] | None = None,
    foreign_processes: Sequence[str] | None = None,
) -> list[Validity]:
    """The rules a measuring window must satisfy before what was seen in it counts.

    They are judged apart from the result, as MLPerf's LoadGen does. `warm_up_seconds` were played
    before the window; `rate` is the window's, `samples` the readings of the machine in it.
    `neighbours`, `throttled` (reasons) and `foreign_processes` (descriptions) leave their rule out
    when None: not known, as on a CPU. A window that is too short says how long would do.
    """
    rules = [
        Validity(
            rule="window long enough",
            observed=f"{window_seconds:.1f} s",
            needed=f"≥ {needed_seconds:g} s",
            ok=window_seconds >= needed_seconds,
        ),
        Validity(
            rule="enough games finished",
            observed=f"{games} in {window_seconds:.1f} s",
            needed=f"≥ {needed_games}{_time_for(games, needed_games, window_seconds)}",
            ok=games >= needed_games,
        ),
        Validity(
            rule=ENOUGH_SAMPLES,
            observed=f"{samples}",
            needed=f"≥ {MIN_SAMPLES}",
            ok=samples >= MIN_SAMPLES,
        ),
        Validity(
            rule="warm-up excluded",
            observed=f"{warm_up_seconds:.1f} s before the window",
            needed="> 0 s",
            ok=warm_up_seconds > 0,
        ),
        _steady(rate),
        _none_seen("failure of the sampler", [sampler_death] if sampler_death else []),
        _none_seen("lost workers", [f"worker {worker}" for worker in lost_workers]),
    ]
    if neighbours is not None:
        rules.append(no_busy_neighbour(neighbours))
    if throttled is not None:
        rules.append(_none_seen("throttling", throttled))
    if foreign_processes is not None:
        rules.append(_none_seen("other processes on the GPU", foreign_processes))
    return rules


def _steady(rate: Metric) -> Validity:
    """Whether the rate's 95 % interval is narrow; unknown is not steady."""
    observed = f"unknown: {rate.reason}"
    if rate.value and rate.interval is not None:
        spread = (rate.interval.high - rate.interval.low) / (2 * rate.value)
        observed = f"± {spread:.1%}"
    return Validity(
        rule=STEADY_RATE,
        observed=observed,
        needed=f"95 % interval within ± {MOST_SPREAD:.0%}",
        ok=bool(rate.value and rate.interval is not None and spread <= MOST_SPREAD),
    )


def no_busy_neighbour(neighbours: Neighbours, during: str = "") -> Validity:
    """Whether others left the cores to us; `during` ends the rule's name."""
    used, cores, host = neighbours
    return Validity(
        rule=f"no busy neighbour{during}",
        observed=f"others used {used:.1f} cores, the host was {host:.0f} % busy",
        needed=f"≤ {MOST_OTHERS * cores:.1f} cores, or a host ≤ {HOST_FULL_PERCENT:g} % busy",
        ok=used <= MOST_OTHERS * cores or host <= HOST_FULL_PERCENT,
    )


def with_validity(check: Check, rules: Sequence[Validity]) -> Check:
    """The same check, resting on these rules as well."""
    return check.model_copy(update={"validity": [*check.validity, *rules]})


def verdict(checks: Sequence[Check]) -> tuple[Status, int, str]:
    """Verdict, exit code and one sentence that names the deciding check (design, §1).

    A deciding FAIL on valid evidence: 1. Else a deciding check that is inconclusive or rests on
    invalid evidence, or no check at all: 3. Else 0. NOT APPLICABLE and advisory count for nothing.
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
    rule = next(rule for rule in first.validity if not rule.ok)
    return (
        f"{first.name}: {first.status} does not count, for its evidence is invalid: "
        f"{rule.rule}: {rule.observed}, needed {rule.needed}" + _more(checks, "undecided")
    )


def _more(checks: Sequence[Check], what: str) -> str:
    others = ", ".join(c.name for c in checks[1:])
    return f"; also {what}: {others}." if others else "."


def _none_seen(rule: str, seen: Sequence[str]) -> Validity:
    return Validity(rule=rule, observed=", ".join(seen) or "none", needed="none", ok=not seen)


def _time_for(games: int, needed: int, seconds: float) -> str:
    """How long would do at the pace seen, with a fifth to spare."""
    if games >= needed:
        return ""
    if games == 0:
        return "; none finished, so more seconds or fewer simulations"
    return f"; about {1.2 * seconds * needed / games:.0f} s would do"
