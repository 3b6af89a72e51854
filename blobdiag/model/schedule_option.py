"""`--schedule`: values that change evenly from the first iteration of a training to the last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from blobdiag.model.errors import UserError

SCHEDULED = ("games", "determinizations", "simulations", "window")


class ScheduledRange(NamedTuple):
    """A value in the first iteration and in the last one."""

    name: str
    first: int
    last: int


def parse_range(text: str) -> ScheduledRange:
    """Read a text like "games=500..5000". Raises UserError."""
    parts = re.fullmatch(r"(\w+)=(\d{1,9})\.\.(\d{1,9})", text)
    if not parts or parts[1] not in SCHEDULED or not (int(parts[2]) and int(parts[3])):
        raise UserError(
            f"--schedule {text!r} must be NAME=FIRST..LAST, whole numbers from 1, with "
            f"NAME one of: {', '.join(SCHEDULED)}"
        )
    return ScheduledRange(parts[1], int(parts[2]), int(parts[3]))


def parse_schedule(schedule: Sequence[str]) -> dict[str, ScheduledRange]:
    """By name; of several with one name the last counts. Raises UserError."""
    return {one.name: one for one in map(parse_range, schedule)}
