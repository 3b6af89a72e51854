"""What a remedy is predicted to gain, in minutes of an iteration."""

from __future__ import annotations

from blobdiag.diagnosis.facts import asked, self_play_minutes
from blobdiag.model.device import Device
from blobdiag.model.judgement import Gain
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# Of the network alone, on a GPU, with room for a search that is not free.
HEALTHY_SHARE_CUDA = 0.60
# On the CPU the trees and the rest of a search thread take this long a position: 0.6 µs alone, 3 µs
# by the clocks of workers whose large network has just used the caches. Set with runs of the
# default network and of one of 109,000 parameters in view (docs/diagnosis.md).
HOST_SECONDS = 2e-6


def healthy_rate(report: Report, throughput: Throughput, bare: float) -> float:
    """Evals/s that a healthy engine reaches where the network alone does `bare` evals/s.

    An engine that does not report its threads is taken to have one a core.
    """
    if Device.of(throughput.device).on_cuda:
        return HEALTHY_SHARE_CUDA * bare
    threads = report.machine.cores_usable
    if throughput.workers and throughput.threads:
        threads = min(throughput.workers * throughput.threads, threads)
    return 1 / (1 / bare + HOST_SECONDS / threads)


def up_to_healthy(report: Report, throughput: Throughput, bare: float | None, what: str) -> Gain:
    """Self-play at a healthy engine's rate; `what` says how `bare`, evals/s, was measured."""
    achieved = throughput.evaluations_per_second.value
    if throughput is not asked(report):
        return unknown(f"the plan is for {report.device}, not for {throughput.device}")
    if not achieved or not bare:
        return unknown("the network alone was not measured")
    healthy = healthy_rate(report, throughput, bare)
    return faster(
        report,
        healthy / achieved,
        f"a healthy engine reaches {healthy:,.0f} evals/s where the network alone does "
        f"{bare:,.0f} {what}; this run {achieved:,.0f}",
    )


def faster(report: Report, factor: float, basis: str) -> Gain:
    """Self-play `factor` times as fast, in minutes of the plan's self-play; never below 1."""
    factor = max(1.0, factor)
    minutes = self_play_minutes(report)
    return Gain(
        minutes_per_iteration=None if minutes is None else minutes * (1 - 1 / factor),
        self_play_factor=factor,
        basis=basis,
    )


def saved(minutes: float | None, basis: str) -> Gain:
    """Minutes saved per iteration, of work that need not be done; None: not known."""
    return Gain(minutes_per_iteration=minutes, basis=basis)


def unknown(reason: str) -> Gain:
    """The gain cannot be predicted, and why."""
    return Gain(basis=f"cannot be predicted: {reason}")
