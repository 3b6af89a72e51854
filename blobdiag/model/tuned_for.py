"""The machine that a stored setting holds for."""

from __future__ import annotations

from typing import NamedTuple


class Hardware(NamedTuple):
    """The machine that a tuned setting holds for."""

    cpu: str
    cores: int
    gpus: tuple[str, ...]
    """Names of the visible GPUs; empty where the device is a CPU."""
    torch: str
