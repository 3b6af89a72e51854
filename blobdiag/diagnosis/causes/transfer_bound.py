"""Copies between host and GPU that take most of the workers' time."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._gpu import on_cuda
from blobdiag.diagnosis.facts import arm_of, gpu_busy, gpu_mean, stage_shares
from blobdiag.model.report import Report

# Copies overlap with the network in a healthy engine, where they take under a tenth.
COPY_SHARE = 0.4


def _in_engine(report: Report) -> Seen | None:
    for throughput in on_cuda(report):
        copying = stage_shares(arm_of(report, throughput)).get("copy", 0.0)
        if copying >= COPY_SHARE:
            break
    else:
        return None
    evidence = [f"{throughput.device}: {copying:.0%} of the workers' time in copies"]
    for metric in ("pcie_received", "pcie_sent"):
        # The driver averages these itself, every few seconds: a few samples are enough.
        rate = gpu_mean(report, throughput, metric, least=1)
        if rate is not None:
            evidence.append(f"{throughput.device}: {metric} {rate:,.0f} MiB/s")
    if (busy := gpu_busy(report, throughput)) is not None:
        evidence.append(f"{throughput.device}: utilisation {busy:.0f} %")
    return Seen(
        title=f"Workers spend {copying:.0%} of their time on copies to and from the GPU",
        cause=(
            "Positions and results cross the bus from pageable memory, or one by one: each copy "
            "waits for the one before, and the network waits with it."
        ),
        evidence=evidence,
        remedy=(
            "Copy whole batches from page-locked memory: tensor.pin_memory() once, then "
            ".to(device, non_blocking=True), in the network's dtype"
        ),
        gain=gains.faster(
            report, 1 / max(1 - copying, 0.01), "at most: the workers' time without the copies"
        ),
    )


CAUSE = Cause(
    name="transfer-bound",
    rank=170,
    summary="Copies between host and GPU take most of the workers' time",
    seen_as=f"{100 * COPY_SHARE:.0f} % or more of the workers' time in copies",
    in_engine=_in_engine,
)
