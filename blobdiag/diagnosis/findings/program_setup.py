"""How a watched program was started: switches left on, and what keeps it from being counted."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.program import Family, is_python, numbered, shortened
from blobdiag.model.judgement import Finding
from blobdiag.model.report import Report

SWITCHED_OFF = {
    "detect_anomaly": "torch.autograd.set_detect_anomaly(False)",
    "CUDA_LAUNCH_BLOCKING": "unset CUDA_LAUNCH_BLOCKING",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "unset PYTORCH_NO_CUDA_MEMORY_CACHING",
}


def debug_switches(report: Report) -> Finding | None:
    """Switches for the search for errors are on, which slow every call down."""
    program = report.program
    on = [] if program is None else [p for p in program.processes if p.debug_switches]
    if program is None or not on:
        return None
    family = Family(program)
    names = sorted({name for p in on for name in p.debug_switches})
    return Finding(
        name="debug-switches",
        title=f"Debug switches are on: {', '.join(names)}",
        cause=(
            "detect_anomaly keeps a stack trace for every operation and looks for NaN in each "
            "gradient; CUDA_LAUNCH_BLOCKING makes the host wait for every kernel; without "
            "its memory cache torch asks the driver for each tensor."
        ),
        evidence=shortened(
            [f"{family.label(p)}: {', '.join(p.debug_switches)}" for p in on],
        ),
        remedy="; ".join(SWITCHED_OFF.get(name, f"turn off {name}") for name in names),
        gain=gains.unknown("the program was not measured without them"),
    )


def uninstrumented(report: Report) -> Finding | None:
    """Python processes with torch that could not be counted from inside, though it was wanted."""
    program = report.program
    if program is None or not program.instrumented:
        return None
    silent = [
        p
        for p in program.processes
        if not p.instrumented and p.reason and "torch" in p.libraries and is_python(p)
    ]
    if not silent:
        return None
    family = Family(program)
    reasons = " ".join(p.reason or "" for p in silent)
    return Finding(
        name="uninstrumented",
        title=f"{numbered(len(silent))} with torch: not counted, so what is called is not known",
        cause=(
            "Python takes the counter in by PYTHONPATH and sitecustomize; a process started "
            "without them is seen from outside only."
        ),
        evidence=shortened([f"{family.label(p)}: {p.reason}" for p in silent]),
        remedy=(
            "Start it without -I, -E and -S"
            if "python -" in reasons
            else "Pass the environment on: subprocess.Popen(command, env={**os.environ, ...}), and "
            "add to PYTHONPATH instead of replacing it: f\"{more}:{os.environ['PYTHONPATH']}\""
        ),
        gain=gains.unknown("it costs nothing but what could be found in these processes"),
    )
