"""What `--inject` can break on purpose: names, doses, and the finding that must name each.

engine/selfplay/faults.py applies them; it is not imported here, so that --help stays fast.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from blobdiag.model.errors import UserError


class Fault(NamedTuple):
    """One line of `--list-injections`."""

    name: str
    does: str
    finding: str
    """The finding that must name it."""
    commands: str
    """Which commands show it."""
    dose: str | None = None
    """What a number after the name means; None: there is none."""
    default: float = 0.0
    """The dose where none is given; of threads, for each usable core."""
    whole: bool = True
    """Whether a dose is a count."""


EVERYWHERE = "check-gpu, compare, iteration"
FAULTS = (
    Fault(
        "device-not-propagated",
        "workers rebuild their network on the CPU, whatever --device says",
        "device-not-propagated",
        "check-gpu (on any machine); compare and iteration on a GPU",
    ),
    Fault(
        "tiny-batches",
        "a batch holds at most ROWS positions",
        "tiny-batches",
        "check-gpu, compare; iteration on a GPU",
        dose="ROWS",
        default=4,
    ),
    Fault(
        "oversubscription",
        "each worker's torch computes with N threads",
        "cpu-oversubscription",
        EVERYWHERE,
        dose="N",
        default=4,
    ),
    Fault(
        "phase-gap",
        "everything pauses for SECONDS: before training, or in the middle of each window",
        "idle-gap-between-phases",
        EVERYWHERE,
        dose="SECONDS",
        default=3,
        whole=False,
    ),
    Fault(
        "collapsed-search",
        "a tree collects 8 leaves before any is expanded: they are the same node",
        "search-collapsed",
        EVERYWHERE,
    ),
    Fault(
        "same-seed",
        "all workers deal the same cards",
        "same-games",
        f"{EVERYWHERE}; with two workers or more",
    ),
    Fault(
        "stale-weights",
        "worker 0 starts with older weights and never takes newer ones",
        "stale-weights",
        EVERYWHERE,
    ),
    Fault(
        "precision",
        "plays in float32, also where bfloat16 agrees and is faster",
        "precision-not-used",
        "check-gpu, compare; where bfloat16 is faster",
    ),
    Fault(
        "train-mode",
        "the plain network evaluates in train mode, with gradients on",
        "train-mode-in-self-play",
        EVERYWHERE,
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}


LARGEST_DOSE = 1_000_000


def parse(text: str) -> tuple[Fault, float | None]:
    """Read NAME or NAME:DOSE; None: no dose. Raises UserError for an unknown name or a bad dose."""
    name, colon, dose = text.partition(":")
    fault = BY_NAME.get(name)
    if fault is None:
        raise UserError(f"--inject must be one of {', '.join(BY_NAME)}, not {name!r}")
    if not colon:
        return fault, None
    if fault.dose is None:
        raise UserError(f"--inject {name} takes no dose, not {dose!r}")
    try:
        value = float(dose)
    except ValueError:
        value = math.nan
    if not 0 < value <= LARGEST_DOSE or (fault.whole and value != int(value)):
        kind = "a whole number from 1" if fault.whole else "a number above 0"
        raise UserError(
            f"--inject {name}:{fault.dose} must be {kind}, at most {LARGEST_DOSE:,}, not {dose!r}"
        )
    return fault, value


def dose_or_default(fault: Fault, dose: float | None, cores: int) -> float:
    """The dose to inject on a machine with `cores` usable cores."""
    if dose is not None:
        return dose
    return fault.default * (cores if fault.name == "oversubscription" else 1)


def listing() -> str:
    """All faults, for a terminal."""
    lines = []
    for fault in FAULTS:
        lines.append(fault.name + (f"[:{fault.dose}]" if fault.dose else ""))
        lines.append(f"    {fault.does}")
        if fault.dose:
            each = " times the usable cores" if fault.name == "oversubscription" else ""
            lines.append(f"    {fault.dose} by default: {fault.default:g}{each}")
        lines.append(f"    must be found as: {fault.finding}")
        lines.append(f"    shown by: {fault.commands}")
    return "\n".join(lines)
