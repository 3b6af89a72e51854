"""Records of the code that kept a device waiting, from the engine's stack watch."""

from __future__ import annotations

from collections.abc import Mapping

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.selfplay import Hold
from engine.selfplay.stacks import Place, StackWatch

__all__ = ["StackWatch", "hold_records"]

MOST_HOLDS = 20
"""Maximum number of lines of code per process in a report."""


def hold_records(seconds: Mapping[Place, float]) -> list[Hold]:
    """The MOST_HOLDS places that kept the device waiting longest; shares are of the total."""
    total = sum(seconds.values())
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:MOST_HOLDS]
    return [
        Hold(phase=place.phase, where=place.where, seconds=spent, share=spent / total)
        for place, spent in longest
        if spent > 0
    ]
