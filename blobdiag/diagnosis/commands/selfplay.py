"""Checks that the commands share which measure self-play."""

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
    """Search health of every arm that was measured; the distinct share decides."""
    return search_health(report.throughput, expectations(report), unseen(report))


def utilisation(
    report: Report, phase: str, rules: Sequence[Validity], gpu_uuids: Sequence[str]
) -> Check:
    """Mean utilisation of these GPUs over a phase, resting on the window's rules too.

    Not on those of the rate: the phase has rules of its own for its length and its samples.
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
    """Why checks of the GPU do not apply; None when they do."""
    return None if Device.of(report.device).on_cuda else f"the device is {report.device}"


def no_gpu(report: Report) -> str | None:
    """Why only the CPU was measured; None: a GPU was asked for."""
    if Device.of(report.device).on_cuda:
        return None
    if report.configuration.get("device") == "cpu":
        return "--device cpu was asked for"
    if report.software.torch_cuda is None:
        return "this torch is built without CUDA"
    return report.software.cuda_reason or report.gpu_reason or "torch sees none"


def reached(throughput: Throughput) -> str:
    """'2,454 games/min (2,396 to 2,507)'; empty where it is not known."""
    games: Metric = throughput.games_per_minute
    if games.value is None:
        return ""
    spread = games.interval
    between = f" ({figure(spread.low)} to {figure(spread.high)})" if spread else ""
    return f"{figure(games.value)} games/min{between}"
