"""Measurement of the built-in engine's network alone, as the reference for self-play."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import torch

from blobdiag.model.selfplay import NetworkRate, PrecisionProbe
from blobdiag.targets.measured_engine import Probes
from engine.network.blobnet import BlobNet
from engine.network.precision import PROBE_ROWS, computes_bfloat16, try_bfloat16

if TYPE_CHECKING:
    from blobdiag.targets.builtin.arm import BuiltInArm

SECONDS = 0.4
"""Duration of one measurement of one batch size."""
NEAR = 0.1
"""Batch sizes that differ by less than this share are measured once."""
ROUNDS = 2
"""Rounds over all batch sizes; the best result counts, so that one disturbance does not."""


def probe(arm: BuiltInArm) -> Probes:
    """Measure an arm's network alone while its workers pause.

    Batch sizes are self-play's mean, the full batch and a large one: if self-play's batch is too
    small for the device, its rate is lower than the others. Raises WorkerFailed.
    """
    rates = _rates(arm)
    worth_a_trial = arm.dtype == "float32" and computes_bfloat16(arm.device)
    return Probes(rates, bfloat16(arm.network, arm.device) if worth_a_trial else None)


def _rates(arm: BuiltInArm) -> list[NetworkRate]:
    mean = arm.throughput().mean_batch or 0
    sizes: list[int] = []
    for rows in (arm.engine.full_batch, PROBE_ROWS[torch.device(arm.device).type], round(mean)):
        if rows and not any(abs(log(rows / size)) < NEAR for size in sizes):
            sizes.append(rows)
    best = dict.fromkeys(sorted(sizes), 0.0)
    for _ in range(ROUNDS):
        for rows in best:
            best[rows] = max(best[rows], arm.engine.measure_network(SECONDS, rows))
    return [NetworkRate(rows=r, evaluations_per_second=v) for r, v in best.items() if v > 0]


def bfloat16(network: BlobNet, device: str) -> PrecisionProbe:
    """bfloat16 compared with float32 on a device, for the report."""
    trial = try_bfloat16(network, device)
    return PrecisionProbe(
        bfloat16_speedup=trial.speedup,
        policy_difference=trial.difference.policy,
        value_difference=trial.difference.value,
        agrees=trial.difference.within_tolerance,
    )
