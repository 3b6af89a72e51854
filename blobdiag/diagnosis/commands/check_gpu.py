"""`check-gpu`: do the self-play workers use the GPU?"""

from __future__ import annotations

from blobdiag.diagnosis.checks.common import unknown, with_validity
from blobdiag.diagnosis.checks.device import device_reaches_workers
from blobdiag.diagnosis.checks.machine import machine_checks
from blobdiag.diagnosis.checks.rates import starved
from blobdiag.diagnosis.command_judgement import Judgement
from blobdiag.diagnosis.commands.selfplay import health_checks, utilisation
from blobdiag.diagnosis.facts import (
    bare_rate,
    expectations,
    gpus_in_use,
    number,
    unseen,
    whole_number,
)
from blobdiag.diagnosis.validity import window_rules
from blobdiag.model.base import Status
from blobdiag.model.judgement import Check
from blobdiag.model.names import SELF_PLAY
from blobdiag.model.report import Report

PROOF_DEVICE = "meta"
"""Replaces an absent GPU, to test whether a device reaches the workers' networks at all."""


def judge(report: Report) -> Judgement:
    """Judge whether the device reached every worker and whether the GPU was used well."""
    on_meta = any(worker.device_asked == PROOF_DEVICE for worker in report.workers)
    asked = PROOF_DEVICE if on_meta else report.device
    device = device_reaches_workers(report.workers, asked, on_meta=on_meta)
    headline = _headline(report, device, on_meta)
    if on_meta or not report.workers:
        why = report.failure or "interrupted before self-play began"
        expectation = expectations(report)["self-play-gpu"]
        return Judgement(
            headline, [device, unknown(f"{SELF_PLAY} GPU utilisation", expectation, why)]
        )
    throughput = report.throughput[0] if report.throughput else None
    rules = []
    if throughput is not None:
        seconds = number(report, "min_seconds", 0.0)
        rules = window_rules(report, throughput, seconds, whole_number(report, "games", 1))
    checks = [device, utilisation(report, SELF_PLAY, rules, gpus_in_use(report))]
    if throughput is None:
        return Judgement(headline, checks)
    share = starved(
        throughput.evaluations_per_second.value,
        bare_rate(report, throughput),
        report.device,
        expectations(report)["bare-network-share"],
        unseen(report),
    )
    checks += [with_validity(share, rules), *health_checks(report)]
    return Judgement(headline, [*checks, *machine_checks(report, throughput)], validity=rules)


def _headline(report: Report, device: Check, on_meta: bool) -> str:
    """One sentence that says whether the workers use the device; empty if unknown."""
    if device.status is Status.FAIL:
        return f"The workers do not use {report.device}: their networks are on another device."
    if device.status is not Status.PASS:
        return ""
    if on_meta:
        return "No GPU was measured. The device setting does reach the workers' networks."
    return f"The workers' networks are on {report.device}."
