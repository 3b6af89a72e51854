"""What `--fail-on` can hold two sets of runs to: the figures' names, and which way is worse.

The figures themselves are read in diagnosis/measured.py, which is not imported here: help is
there at once.
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
"""Of the device that was asked for; rates of self-play, unless their name says otherwise."""


class Gate(NamedTuple):
    """The most by which a figure may have become worse."""

    figure: str
    percent: float

    def __str__(self) -> str:
        return f"{self.figure}:{self.percent:g}%"

    @property
    def better(self) -> Better:
        return FIGURES[self.figure]


def parse(text: str) -> Gate:
    """Read NAME:PERCENT%. Raises UserError for a name or a percentage that cannot be."""
    name, _, amount = text.partition(":")
    if name not in FIGURES:
        raise UserError(f"--fail-on {name!r} is none of: {', '.join(FIGURES)}")
    number = re.fullmatch(r"([0-9.]+)\s*%?", amount.strip())
    try:
        percent = float(number[1]) if number else math.nan
    except ValueError:
        percent = math.nan
    if not 0 < percent < 100:
        raise UserError(f"--fail-on {text!r}: it should read {name}:PERCENT%, above 0, below 100")
    return Gate(name, percent)
