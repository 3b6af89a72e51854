"""The figures that `--fail-on` can name, and whether higher or lower is better.

The values are read in diagnosis/report_figures.py, which is not imported here to keep `--help`
fast.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from blobdiag.model.errors import UserError

if TYPE_CHECKING:
    from blobdiag.model.comparison import Better

FIGURES: dict[str, Better] = {
    "games_per_minute": "higher",
    "evaluations_per_second": "higher",
    "mean_batch": "higher",
    "bare_network": "higher",
    "bare_network_share": "higher",
    "distinct_share": "higher",
    "gpu_utilisation": "higher",
    "examples_per_second": "higher",
    "minutes_per_iteration": "lower",
    "plan_days": "lower",
    "start_up_seconds": "lower",
    "warm_up_seconds": "lower",
    "joules_per_game": "lower",
}
"""Figures of the device that was asked for."""


class Gate(NamedTuple):
    """The percentage from which a worse figure fails the comparison."""

    figure: str
    percent: float

    def __str__(self) -> str:
        return f"{self.figure}:{self.percent:g}%"

    @property
    def better(self) -> Better:
        return FIGURES[self.figure]


def parse(text: str) -> Gate:
    """Parse NAME:PERCENT%. Raises UserError for an unknown name or an invalid percentage."""
    name, _, amount = text.partition(":")
    if name not in FIGURES:
        raise UserError(f"--fail-on {name!r}: unknown figure; choose from: {', '.join(FIGURES)}")
    number = re.fullmatch(r"([0-9.]+)\s*%?", amount.strip())
    try:
        percent = float(number[1]) if number else math.nan
    except ValueError:
        percent = math.nan
    if not 0 < percent < 100:
        raise UserError(f"--fail-on {text!r}: expected {name}:PERCENT%, above 0 and below 100")
    return Gate(name, percent)
