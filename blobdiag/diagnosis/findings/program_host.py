"""What a watched program does with the cores: threads that compete, or share one lock."""

from __future__ import annotations

from typing import NamedTuple

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.facts import mean, samples
from blobdiag.diagnosis.findings.gpu import BUSY_PERCENT
from blobdiag.diagnosis.findings.host import (
    GIL_PERCENT,
    GIL_THREADS,
    IDLE_CORES_PERCENT,
    MANY_SWITCHES,
    QUOTA_NOT_COUNTED,
)
from blobdiag.diagnosis.program import (
    CPU,
    CUDA,
    MIN_CPU_SAMPLES,
    Family,
    calling,
    cpu_percent,
    gpu_level,
    intra_op,
    network_calls,
    on,
    overlap,
    shortened,
    steady,
    threads_inside,
)
from blobdiag.model.judgement import Finding
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report

# So many of a process's threads must be inside calls at once, on average, for them to wait for
# each other: threads that take turns on purpose come to 1 at most.
MIN_THREADS_INSIDE = 1.25


class Computing(NamedTuple):
    """A process that calls networks on the CPU, with the intra-op threads that it does so with."""

    process: ProcessRecord
    threads: int


def cpu_oversubscription(report: Report) -> Finding | None:
    """Processes that compute beside each other have more intra-op threads than there are cores.

    That is no loss by itself: small networks compute in one thread, whatever is allowed. It is one
    where threads are seen to be taken off the cores.
    """
    program, cores = report.program, report.machine.cores_usable
    crowd = _crowd(report)
    rates = {id(c): _switches_per_s(report, c.process) for c in crowd}
    worst = max((rate for rate in rates.values() if rate is not None), default=0.0)
    threads = sum(c.threads for c in crowd)
    # One thread each cannot be fewer: there, processes are what is too many.
    several = any(c.threads > 1 for c in crowd)
    if program is None or threads <= cores or not several or worst < MANY_SWITCHES:
        return None
    family = Family(program)
    return Finding(
        name="cpu-oversubscription",
        title=f"{threads} computing threads of {len(crowd)} processes share {cores} usable cores",
        cause=(
            "Each process computes with as many threads as it sees cores; what the parent sets "
            "does not reach a spawned worker. Threads of one core take turns, and OpenMP's spin "
            "while they wait for others."
        ),
        evidence=shortened(
            [
                f"{family.label(c.process)}: {c.threads} intra-op threads{_taken_off(rates[id(c)])}"
                for c in crowd
            ]
        ),
        remedy="At each worker's start: torch.set_num_threads(1)",
        gain=gains.unknown("these calls were not measured with one thread each"),
    )


def _crowd(report: Report) -> list[Computing]:
    """The processes of one parent that compute on the CPU at the same time; the most threads.

    A parent and its workers may take turns, so they are not counted together.
    """
    by_parent: dict[int, list[Computing]] = {}
    for process in calling(report.program) if report.program else []:
        threads = intra_op(on(CPU, network_calls(process)))
        if threads is not None:
            by_parent.setdefault(process.parent_pid, []).append(Computing(process, threads))
    crowds = [
        [c for c in siblings if overlap(report, c.process, one.process) > 0]
        for siblings in by_parent.values()
        for one in siblings
    ]
    return max(crowds, key=lambda crowd: sum(c.threads for c in crowd), default=[])


def _switches_per_s(report: Report, process: ProcessRecord) -> float | None:
    """How often its threads were taken off a core while it was steady."""
    name = f"process/{process.pid}/involuntary_switches"
    counts = samples(report, name, steady(report, process))
    if len(counts) < 2:
        return None
    (start, first), (end, last) = counts[0], counts[-1]
    return (last - first) / (end - start) if end > start and last >= first else None


def _taken_off(rate: float | None) -> str:
    return "" if rate is None else f", taken off a core {rate:,.0f} times a second"


def cores_counted_wrong(report: Report) -> Finding | None:
    """A container may use fewer cores than it sees, and threads were made for those it sees."""
    program, machine = report.program, report.machine
    quota, cores = machine.cgroup_cpu_quota, machine.cores_usable
    if program is None or quota is None or quota >= machine.cores_total:
        return None
    crowd = _crowd(report)
    wide = [c for c in crowd if c.threads > max(quota, cores)]
    counted = {c.process.cpu_count for c in crowd} - {None}
    # As many workers as os.cpu_count() says: what a pool starts by itself.
    pool = len(crowd) > cores and len(crowd) in counted
    if not wide and not pool:
        return None
    threads = sum(c.threads for c in crowd)
    return Finding(
        name="cores-counted-wrong",
        title=f"{threads} threads were started for {cores} cores: the machine shows more",
        cause=QUOTA_NOT_COUNTED,
        evidence=[
            f"cgroup quota {quota:g} cores, os.cpu_count() {machine.cores_total}, usable {cores}",
            *shortened([f"pid {c.process.pid}: {c.threads} intra-op threads" for c in crowd]),
        ],
        remedy=(
            f"torch.set_num_threads({max(1, cores // len(crowd))}) in each of "
            f"{min(len(crowd), cores)} processes; count len(os.sched_getaffinity(0)) and the quota "
            "in /sys/fs/cgroup/cpu.max, not os.cpu_count()"
        ),
        gain=gains.unknown("the program was not measured with fewer threads"),
    )


def gil_bound_threads(report: Report) -> Finding | None:
    """Many threads that call networks in one process use one core together, and others idle."""
    program = report.program
    if program is None or report.machine.cores_usable < 2:
        return None
    bound = [
        (process, used)
        for process in calling(program)
        if (used := _one_core(report, process)) is not None
    ]
    if not bound or _gpu_is_the_limit(report, program):
        return None
    process, used = bound[0]
    threads = _threads(process)
    cores = min(threads, report.machine.cores_usable // len(bound))
    return Finding(
        name="gil-bound-threads",
        title=f"{threads} threads of one process share one core",
        cause=(
            "Python runs one thread of a process at a time. Threads that search in Python wait "
            "for its lock, so a process of many is as fast as one of one."
        ),
        evidence=[_waiting(report, program, p, percent) for p, percent in bound],
        remedy=(
            "Search in processes instead of threads: "
            f'torch.multiprocessing.get_context("spawn").Pool({cores}); or in code that lets go of '
            "the lock (numba with nogil=True)"
        ),
        gain=gains.faster(
            report,
            cores * 100 / used,
            f"at most: each of the process's threads on a core of its own, {cores} of them",
        ),
    )


def _threads(process: ProcessRecord) -> int:
    return max(c.threads for c in network_calls(process))


def _one_core(report: Report, process: ProcessRecord) -> float | None:
    """CPU of a process whose many threads share one core, in % of a core; None of any other."""
    used, inside = cpu_percent(report, process), threads_inside(report, process)
    host = mean(report, ["host/cpu"], steady(report, process), MIN_CPU_SAMPLES)
    low, high = GIL_PERCENT
    if used is None or inside is None or host is None:
        return None
    shares = _threads(process) >= GIL_THREADS and inside >= MIN_THREADS_INSIDE
    return used if shares and low <= used <= high and host <= IDLE_CORES_PERCENT else None


def _gpu_is_the_limit(report: Report, program: Program) -> bool:
    """Whether the threads wait for a GPU that is busy; one that is not known may be."""
    if not any(on(CUDA, network_calls(p)) for p in calling(program)):
        return False
    busy = gpu_level(report, "utilization")
    return busy is None or busy >= BUSY_PERCENT


def _waiting(report: Report, program: Program, process: ProcessRecord, percent: float) -> str:
    return (
        f"{Family(program).label(process)}: {_threads(process)} threads call "
        f"{network_calls(process)[0].module}, "
        f"{threads_inside(report, process):.1f} of them are inside a call at once, and together "
        f"they use {percent:.0f} % of one core"
    )
