"""Switches for debugging that slow every call down."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.program import Family, shortened
from blobdiag.model.program import Program
from blobdiag.model.report import Report

SWITCHED_OFF = {
    "detect_anomaly": "torch.autograd.set_detect_anomaly(False)",
    "CUDA_LAUNCH_BLOCKING": "unset CUDA_LAUNCH_BLOCKING",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "unset PYTORCH_NO_CUDA_MEMORY_CACHING",
}


def _in_program(report: Report, program: Program) -> Seen | None:
    on = [p for p in program.processes if p.debug_switches]
    if not on:
        return None
    family = Family(program)
    switches = sorted({name for p in on for name in p.debug_switches})
    return Seen(
        title=f"Debug switches are on: {', '.join(switches)}",
        cause=(
            "detect_anomaly keeps a stack trace for every operation and looks for NaN in each "
            "gradient; CUDA_LAUNCH_BLOCKING makes the host wait for every kernel; without "
            "its memory cache torch asks the driver for each tensor."
        ),
        evidence=shortened([f"{family.label(p)}: {', '.join(p.debug_switches)}" for p in on]),
        remedy="; ".join(SWITCHED_OFF.get(name, f"turn off {name}") for name in switches),
        gain=gains.unknown("the program was not measured without them"),
    )


CAUSE = Cause(
    name="debug-switches",
    rank=145,
    summary="Debug switches are on, which slow every call down",
    seen_as="`detect_anomaly`, `CUDA_LAUNCH_BLOCKING` or `PYTORCH_NO_CUDA_MEMORY_CACHING` is on",
    in_program=_in_program,
)
