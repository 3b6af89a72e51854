"""Checks and sentences that the commands which measure self-play share."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.checks.common import with_validity
from blobdiag.diagnosis.checks.search import search_health
from blobdiag.diagnosis.checks.utilisation import gpu_utilisation
from blobdiag.diagnosis.facts import expectations, spans, unseen
from blobdiag.diagnosis.validity import RATE_RULES
from blobdiag.model.base import Metric
from blobdiag.model.device import Device
from blobdiag.model.figures import figure
from blobdiag.model.judgement import Check, Validity
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput


def health_checks(report: Report) -> list[Check]:
    """The checks of search health over all measured arms; only the distinct share decides."""
    return search_health(report.throughput, expectations(report), unseen(report))


def utilisation(
    report: Report, phase: str, rules: Sequence[Validity], gpu_uuids: Sequence[str]
) -> Check:
    """The check of these GPUs' mean utilisation over a phase, with the window's rules added.

    RATE_RULES are left out: they concern rates.
    """
    check = gpu_utilisation(
        report,
        gpu_uuids if Device.of(report.device).on_cuda else [],
        phase,
        spans(report, phase),
        expectations(report)[f"{phase}-gpu"],
        not_on_gpu(report),
    )
    return with_validity(check, [rule for rule in rules if rule.rule not in RATE_RULES])


def not_on_gpu(report: Report) -> str | None:
    """Why checks of the GPU do not apply; None if they do."""
    return None if Device.of(report.device).on_cuda else f"the device is {report.device}"


def no_gpu(report: Report) -> str | None:
    """Why only the CPU was measured; None if a GPU was asked for."""
    if Device.of(report.device).on_cuda:
        return None
    if report.configuration.get("device") == "cpu":
        return "--device cpu was given"
    if report.software.torch_cuda is None:
        return "this torch is built without CUDA"
    return report.software.cuda_reason or report.gpu_reason or "torch sees no GPU"


def reached(throughput: Throughput) -> str:
    """Games per minute as text: '2,454 games/min (2,396 to 2,507)'; empty if unknown."""
    games: Metric = throughput.games_per_minute
    if games.value is None:
        return ""
    spread = games.interval
    between = f" ({figure(spread.low)} to {figure(spread.high)})" if spread else ""
    return f"{figure(games.value)} games/min{between}"
