"""Predicted gains of remedies, in minutes per iteration."""

from __future__ import annotations

from blobdiag.diagnosis.facts import asked, self_play_minutes
from blobdiag.model.device import Device
from blobdiag.model.judgement import Gain
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# Self-play's share of the rate of the network alone on a GPU; the rest is the cost of the search.
HEALTHY_SHARE_CUDA = 0.60
# Seconds per position of the trees and the rest of a search thread on the CPU: measured 0.6 µs
# alone, 3 µs in workers whose large network has just used the caches. Calibrated on runs of the
# default network and of one with 109,000 parameters (docs/diagnosis.md).
HOST_SECONDS = 2e-6


def healthy_rate(report: Report, throughput: Throughput, bare: float) -> float:
    """Evals/s that a healthy engine reaches if the network alone reaches `bare` evals/s.

    An engine that does not report its threads is assumed to have one per core.
    """
    if Device.of(throughput.device).on_cuda:
        return HEALTHY_SHARE_CUDA * bare
    threads = report.machine.cores_usable
    if throughput.workers and throughput.threads:
        threads = min(throughput.workers * throughput.threads, threads)
    return 1 / (1 / bare + HOST_SECONDS / threads)


def up_to_healthy(report: Report, throughput: Throughput, bare: float | None, what: str) -> Gain:
    """The gain of self-play at a healthy engine's rate.

    `bare` is the rate of the network alone in evals/s, `what` how it was measured.
    """
    achieved = throughput.evaluations_per_second.value
    if throughput is not asked(report):
        return unknown(f"the plan is for {report.device}, not for {throughput.device}")
    if not achieved or not bare:
        return unknown("the network alone was not measured")
    healthy = healthy_rate(report, throughput, bare)
    return faster(
        report,
        healthy / achieved,
        f"this run reached {achieved:,.0f} evals/s; a healthy engine reaches {healthy:,.0f} "
        f"with a network that alone reaches {bare:,.0f} {what}",
    )


def faster(report: Report, factor: float, basis: str) -> Gain:
    """The gain of self-play that is `factor` times as fast; a factor below 1 counts as 1."""
    factor = max(1.0, factor)
    minutes = self_play_minutes(report)
    return Gain(
        minutes_per_iteration=None if minutes is None else minutes * (1 - 1 / factor),
        self_play_factor=factor,
        basis=basis,
    )


def saved(minutes: float | None, basis: str) -> Gain:
    """The gain of work that is no longer done: `minutes` per iteration; None: unknown."""
    return Gain(minutes_per_iteration=minutes, basis=basis)


def unknown(reason: str) -> Gain:
    """A gain that cannot be predicted for this reason."""
    return Gain(basis=f"cannot be predicted: {reason}")
