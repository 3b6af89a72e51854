"""`blobdiag tune`: which workers, threads, lanes and dtype are fastest here?"""

from __future__ import annotations

from contextlib import ExitStack

from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.devices import present_device
from blobdiag.targets.builtin.sweep import Candidate, OnRow, Sweep, SweepRow, recommended, run
from blobdiag.targets.builtin.weights import check_workload, load_network

__all__ = [
    "Candidate",
    "Sweep",
    "SweepRow",
    "check_workload",
    "present_device",
    "recommended",
    "tune",
]


def tune(settings: Settings, device: str, seconds: float, on_row: OnRow) -> Sweep:
    """Measure candidates for about `seconds`; returns the sweep with its workers ended."""
    network = load_network(settings)
    with ExitStack() as stack:
        sweep = Sweep(settings, network, device, stack)
        run(sweep, seconds, on_row)
    return sweep
