"""Where processes stood while their device waited, as a report has it."""

from __future__ import annotations

from collections.abc import Mapping

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.selfplay import Hold
from engine.selfplay.stacks import Place, StackWatch

__all__ = ["StackWatch", "hold_records"]

MOST_HOLDS = 20
"""Lines of a process that its report names."""


def hold_records(seconds: Mapping[Place, float]) -> list[Hold]:
    """The MOST_HOLDS places where a process held its device up longest; shares are of all."""
    total = sum(seconds.values())
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:MOST_HOLDS]
    return [
        Hold(phase=place.phase, where=place.where, seconds=spent, share=spent / total)
        for place, spent in longest
        if spent > 0
    ]
