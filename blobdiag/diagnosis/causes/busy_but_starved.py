"""A GPU that is busy with little work: small kernels one after the other."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._calls import ONE_CALL
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._gpu import (
    ANY_KERNEL_COUNTS,
    BUSY_PERCENT,
    STARVED_SHARE,
    STARVED_SM_PERCENT,
    gain_of_full_gpu,
    gpu_lines,
    on_cuda,
    share_lines,
    starved,
)
from blobdiag.diagnosis.causes._options import is_built_in, options
from blobdiag.diagnosis.facts import gpu_busy, gpu_mean
from blobdiag.diagnosis.program import gpu_level, uses_gpu
from blobdiag.model.program import Program
from blobdiag.model.report import Report


def _in_engine(report: Report) -> Seen | None:
    """Utilisation is high, yet the network does a small part of what it does alone."""
    for throughput in on_cuda(report):
        busy = gpu_busy(report, throughput)
        if busy is not None and busy >= BUSY_PERCENT and starved(report, throughput):
            break
    else:
        return None
    device, activity = throughput.device, gpu_mean(report, throughput, "sm_activity")
    evidence = [f"{device}: utilisation {busy:.0f} %", *share_lines(report, throughput)]
    if activity is not None:
        evidence.append(f"{device}: SM activity {activity:.0f} %")
    if throughput.mean_batch is not None:
        evidence.append(f"{device}: mean batch {throughput.mean_batch:.1f}")
    return Seen(
        title=_title(busy),
        cause=ANY_KERNEL_COUNTS,
        evidence=evidence,
        remedy=(
            f"Give the GPU more rows a call{options(report, '--lanes')} from fewer "
            f"processes{options(report, '--workers')} with one thread per "
            f"core{options(report, '--threads')}"
            + ("; blobdiag tune finds the numbers" if is_built_in(report) else "")
        ),
        gain=gain_of_full_gpu(report, throughput),
    )


def _in_program(report: Report, program: Program) -> Seen | None:
    """Utilisation is high, yet few of the GPU's processors have work."""
    busy, activity = gpu_level(report, "utilization"), gpu_level(report, "sm_activity")
    if busy is None or activity is None or not uses_gpu(program):
        return None
    if busy < BUSY_PERCENT or activity >= STARVED_SM_PERCENT:
        return None
    return Seen(
        title=_title(busy),
        cause=ANY_KERNEL_COUNTS,
        evidence=gpu_lines(program, busy, activity),
        remedy=f"Give each call more rows: {ONE_CALL}",
        gain=gains.unknown("the network alone was not measured"),
    )


def _title(busy: float) -> str:
    return f"The GPU is {busy:.0f} % busy with very little work"


CAUSE = Cause(
    name="busy-but-starved",
    rank=20,
    summary="The GPU runs small kernels one after the other: it is busy, but nearly empty",
    seen_as=(
        f"utilisation of {BUSY_PERCENT:g} % or more, with less than {STARVED_SHARE:g} of the bare "
        f"network's rate or, where that was not measured, less than {STARVED_SM_PERCENT:g} % SM "
        "activity"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
