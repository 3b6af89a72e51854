"""Threads for all cores of the machine in a container that may use fewer."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._options import options
from blobdiag.diagnosis.causes._threads import (
    crowd,
    gain_of_own_cores,
    intra_op_words,
    total_threads,
)
from blobdiag.diagnosis.facts import arms, computing_threads
from blobdiag.diagnosis.program import shortened
from blobdiag.model.machine import Machine
from blobdiag.model.program import Program
from blobdiag.model.report import Report

QUOTA_NOT_COUNTED = (
    "os.cpu_count() counts the machine's cores. A container's quota of CPU time does not lower it, "
    "and threads beyond the quota are all stopped for the rest of each period."
)
COUNT = "len(os.sched_getaffinity(0)) and the quota in /sys/fs/cgroup/cpu.max, not os.cpu_count()"


def _in_engine(report: Report) -> Seen | None:
    machine = report.machine
    quota, cores = _low_quota(machine), machine.cores_usable
    arm = max(arms(report), key=computing_threads, default=[])
    threads = computing_threads(arm)
    if quota is None or threads <= max(quota, cores):
        return None
    return Seen(
        title=_title(threads, machine),
        cause=QUOTA_NOT_COUNTED,
        evidence=[
            _quota_line(quota, machine),
            f"{len(arm)} workers with {threads} computing threads",
        ],
        remedy=f"One thread a core{options(report, f'--workers {cores} --threads 1')}: "
        f"count {COUNT}",
        gain=gain_of_own_cores(report, arm),
    )


def _in_program(report: Report, program: Program) -> Seen | None:
    machine, crowded = report.machine, crowd(report, program)
    quota, cores = _low_quota(machine), machine.cores_usable
    if quota is None:
        return None
    wide = any(c.threads > max(quota, cores) for c in crowded)
    counted = {c.process.cpu_count for c in crowded} - {None}
    # As many workers as os.cpu_count() says: the default of a pool.
    pool = len(crowded) > cores and len(crowded) in counted
    if not wide and not pool:
        return None
    each = max(1, cores // len(crowded))
    return Seen(
        title=_title(total_threads(crowded), machine),
        cause=QUOTA_NOT_COUNTED,
        evidence=[
            _quota_line(quota, machine),
            *shortened([f"pid {c.process.pid}: {intra_op_words(c.threads)}" for c in crowded]),
        ],
        remedy=(
            f"torch.set_num_threads({each}) in each of {min(len(crowded), cores)} processes; "
            f"count {COUNT}"
        ),
        gain=gains.unknown("the program was not measured with fewer threads"),
    )


def _low_quota(machine: Machine) -> float | None:
    """The CPU quota, in cores, where it is below the machine's cores."""
    quota = machine.cgroup_cpu_quota
    return None if quota is None or quota >= machine.cores_total else quota


def _title(threads: int, machine: Machine) -> str:
    cores = machine.cores_usable
    return f"{threads} threads were started for {cores} cores: the machine shows more"


def _quota_line(quota: float, machine: Machine) -> str:
    return (
        f"cgroup quota {quota:g} cores, os.cpu_count() {machine.cores_total}, "
        f"usable {machine.cores_usable}"
    )


CAUSE = Cause(
    name="cores-counted-wrong",
    rank=130,
    summary="Threads were started for all cores of the machine where a CPU quota allows fewer",
    seen_as=(
        "a CPU quota below the machine's cores, and more computing threads than it allows, or as "
        "many workers as `os.cpu_count()` says"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
