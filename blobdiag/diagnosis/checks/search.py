"""Checks of the search: distinct evaluations, depth, a policy that is not uniform."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blobdiag.diagnosis.checks.common import check
from blobdiag.diagnosis.expectations import Expectation
from blobdiag.model.base import Status
from blobdiag.model.judgement import Check
from blobdiag.model.selfplay import SearchHealth, Throughput

DISTINCT_CHECK = "distinct evaluations"
DEEP_CHECK = "searches deep"
POLICY_CHECK = "policy not uniform"


def search_health(
    throughputs: Sequence[Throughput],
    expectations: dict[str, Expectation],
    not_applicable: str | None = None,
) -> list[Check]:
    """Check that the search evaluates distinct nodes, goes deep and gives a non-uniform policy.

    The lowest of several throughputs decides. The policy is judged only with trained weights:
    random weights give a nearly uniform one.
    """
    if not_applicable:
        names = (DISTINCT_CHECK, "distinct-share"), (DEEP_CHECK, "deep-share")
        return [
            check(name, expectations[key], Status.NOT_APPLICABLE, not_applicable)
            for name, key in (*names, (POLICY_CHECK, "visit-kl"))
        ]
    trained = [t for t in throughputs if t.search_health.trained_weights]
    checks = [
        _health(DISTINCT_CHECK, throughputs, expectations["distinct-share"], _distinct),
        _health(DEEP_CHECK, throughputs, expectations["deep-share"], _deep),
    ]
    if trained or not throughputs:
        policy = _health(POLICY_CHECK, trained, expectations["visit-kl"], _divergence)
    else:
        reason = "random weights are nearly uniform"
        expectation = expectations["visit-kl"]
        policy = check(POLICY_CHECK, expectation, Status.NOT_APPLICABLE, reason)
    return [*checks, policy]


def _distinct(health: SearchHealth) -> float | None:
    return health.distinct_share


def _deep(health: SearchHealth) -> float | None:
    return health.deep_share


def _divergence(health: SearchHealth) -> float | None:
    return health.mean_kl_nats


def _health(
    name: str,
    throughputs: Sequence[Throughput],
    expectation: Expectation,
    figure: Callable[[SearchHealth], float | None],
) -> Check:
    figures = [(t, figure(t.search_health)) for t in throughputs]
    known = [value for _, value in figures if value is not None]
    evidence = [
        f"{t.device}: {value:.3f}"
        if value is not None
        else f"{t.device}: – ({t.search_health.reason or 'not recorded'})"
        for t, value in figures
    ]
    if known and expectation.judge(min(known)) is Status.FAIL:
        status = Status.FAIL
    elif not known or len(known) < len(figures):
        status = Status.INCONCLUSIVE
    else:
        status = Status.PASS
    observed = f"lowest {min(known):.3f}" if known else "not recorded"
    return check(name, expectation, status, observed, evidence)
