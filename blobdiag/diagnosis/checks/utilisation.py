"""Check of a GPU's mean utilisation in a phase."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.checks.common import broken, check, enough_samples, long_enough, unknown
from blobdiag.diagnosis.expectations import Expectation
from blobdiag.diagnosis.facts import Window, after_look_back, total_mean
from blobdiag.model.base import Status
from blobdiag.model.judgement import Check
from blobdiag.model.names import utilization
from blobdiag.model.report import Report


def gpu_utilisation(
    report: Report,
    gpu_uuids: Sequence[str],
    phase: str,
    within: Sequence[Window],
    expectation: Expectation,
    not_applicable: str | None = None,
) -> Check:
    """Check the mean utilisation, in %, over a phase's windows; the lowest of several GPUs decides.

    The first second of a window is left out: NVML still averages over the time before it.
    """
    name = f"{phase} GPU utilisation"
    if not_applicable:
        return check(name, expectation, Status.NOT_APPLICABLE, not_applicable)
    if not within:
        return unknown(name, expectation, f"the run had no phase {phase!r}")
    if not gpu_uuids:
        return unknown(name, expectation, "no GPU was sampled")
    seen = {u: total_mean(report, [utilization(u)], after_look_back(within)) for u in gpu_uuids}
    rules = [
        long_enough(sum(end - start for start, end in within)),
        enough_samples(min(samples for _, samples in seen.values())),
    ]
    short = broken(rules)
    if short is not None:
        silent = [utilization(uuid) for uuid, (_, samples) in seen.items() if not samples]
        reason = next((report.unsupported[n] for n in silent if n in report.unsupported), None)
        return check(name, expectation, Status.INCONCLUSIVE, reason or short, validity=rules)
    means = {uuid: mean for uuid, (mean, _) in seen.items() if mean is not None}
    lowest = min(means.values())
    observed = f"mean {lowest:.0f} %"
    if len(means) > 1:
        observed = f"lowest mean of {len(means)} GPUs {lowest:.0f} %"
    evidence = [f"{u}: mean {mean:.1f} % of {seen[u][1]} samples" for u, mean in means.items()]
    return check(name, expectation, expectation.judge(lowest), observed, evidence, rules)
