"""`blobdiag tune --explain`: time by stage, and the chain from peak FLOP/s to games per minute."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.chain import Chain, encoding_seconds, measure, prepared_arm
from blobdiag.targets.builtin.devices import present_device
from blobdiag.targets.builtin.weights import check_workload, load_network

__all__ = ["Chain", "Explained", "check_workload", "explain", "present_device"]


class Explained(NamedTuple):
    """Result of `explain`, all search threads together."""

    chain: Chain
    stages: dict[str, float]
    """Seconds by stage."""
    evaluations: int
    """Evaluations made in that time."""
    encoding: float
    """Seconds to encode one position, measured alone."""


def explain(
    settings: Settings, device: str, seconds: float, on_start: Callable[[str | None], None]
) -> Explained:
    """Measure for about `seconds`; `on_start` is called with the dtype once the engine runs."""
    network = load_network(settings)
    arm = prepared_arm(settings, network, device)
    with closing(arm):
        arm.engine.start()
        on_start(arm.dtype)
        arm.warm_up(lambda progress: None)
        chain, stages, evaluations = measure(arm, network, seconds)
    return Explained(chain, stages, evaluations, encoding_seconds(settings))
