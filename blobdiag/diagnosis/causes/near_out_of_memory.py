"""A GPU whose memory is nearly full."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._options import options
from blobdiag.diagnosis.facts import series
from blobdiag.model import names
from blobdiag.model.program import Program
from blobdiag.model.report import Report

# PyTorch's allocator fails when it cannot get its next block of up to a twentieth.
FULL_MEMORY = 0.95


def _in_engine(report: Report) -> Seen | None:
    return _seen(
        report,
        f"Fewer workers a GPU{options(report, '--workers')}, or fewer games in "
        f"progress{options(report, '--lanes')}; end other GPU programs",
    )


def _in_program(report: Report, program: Program) -> Seen | None:
    return _seen(report, "Fewer processes a GPU, or smaller batches; end other GPU programs")


def _seen(report: Report, remedy: str) -> Seen | None:
    evidence = []
    for gpu in report.gpus:
        used = series(report, names.gpu(gpu.uuid, "memory_used"))
        most = max((v for v in used.values if v is not None), default=None) if used else None
        if most is not None and gpu.memory_mib and most >= FULL_MEMORY * gpu.memory_mib:
            evidence.append(f"{gpu.name}: {most:,.0f} of {gpu.memory_mib:,.0f} MiB in use")
    if not evidence:
        return None
    return Seen(
        title="The GPU's memory is nearly full",
        cause=(
            "Each process holds a CUDA context, the network and its batches; training adds "
            "gradients and optimizer state. The memory left does not hold another block."
        ),
        evidence=evidence,
        remedy=remedy,
        gain=gains.unknown("it costs nothing until an allocation fails, and then the run"),
    )


CAUSE = Cause(
    name="near-out-of-memory",
    rank=180,
    summary="The GPU's memory is nearly full: the next larger batch ends the run",
    seen_as=f"{100 * FULL_MEMORY:.0f} % or more of a GPU's memory in use",
    in_engine=_in_engine,
    in_program=_in_program,
)
