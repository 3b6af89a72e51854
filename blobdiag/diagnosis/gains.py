"""What a remedy is predicted to gain, in minutes of an iteration."""

from __future__ import annotations

from blobdiag.diagnosis.evidence import self_play_minutes
from blobdiag.reporting.model import Gain, Report

# Self-play ÷ the network alone of a healthy engine: docs/performance.md measures 0.92 to 0.97 on
# the CPU; on CUDA the design asks for 0.60 (§6).
HEALTHY_SHARE = {"cpu": 0.92, "cuda": 0.60}


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
    """So many minutes an iteration less, of work that need not be done."""
    return Gain(minutes_per_iteration=minutes, basis=basis)


def unknown(why: str) -> Gain:
    """The gain cannot be predicted, and why."""
    return Gain(basis=f"cannot be predicted: {why}")
