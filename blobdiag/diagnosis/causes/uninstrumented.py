"""Python processes with torch that could not be counted from inside."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.program import Family, is_python, numbered, shortened
from blobdiag.model.program import Program
from blobdiag.model.report import Report


def _in_program(report: Report, program: Program) -> Seen | None:
    if not program.instrumented:
        return None
    silent = [
        p
        for p in program.processes
        if not p.instrumented and p.reason and "torch" in p.libraries and is_python(p)
    ]
    if not silent:
        return None
    family = Family(program)
    isolated = any("python -" in (p.reason or "") for p in silent)
    return Seen(
        title=f"Network calls are unknown in {numbered(len(silent))} with torch",
        cause=(
            "Python loads the counter by PYTHONPATH and sitecustomize; a process started "
            "without them is seen from outside only."
        ),
        evidence=shortened([f"{family.label(p)}: {p.reason}" for p in silent]),
        remedy=(
            "Start it without -I, -E and -S"
            if isolated
            else "Pass the environment on: subprocess.Popen(command, env={**os.environ, ...}), and "
            "add to PYTHONPATH instead of replacing it: f\"{more}:{os.environ['PYTHONPATH']}\""
        ),
        gain=gains.unknown("it costs nothing but what could be found in these processes"),
    )


CAUSE = Cause(
    name="uninstrumented",
    rank=190,
    summary="Python processes with torch could not be counted, so their calls are unknown",
    seen_as="a Python process that has loaded torch and has no record, with a reason",
    in_program=_in_program,
)
