"""Many threads of one process that share one core: Python's global interpreter lock."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._gpu import BUSY_PERCENT, callers_on_gpu
from blobdiag.diagnosis.causes._options import options
from blobdiag.diagnosis.causes._threads import WAITING_SHARE
from blobdiag.diagnosis.facts import (
    MIN_SAMPLES,
    Window,
    arm_of,
    asked,
    bare_share,
    gpu_busy,
    mean,
    stage_shares,
    windows,
)
from blobdiag.diagnosis.program import (
    MIN_CPU_SAMPLES,
    Family,
    calling,
    cpu_percent,
    gpu_level,
    network_calls,
    steady,
    threads_inside,
)
from blobdiag.model import names
from blobdiag.model.device import Device
from blobdiag.model.judgement import Gain
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput, WorkerRecord

# A process of so many threads that shares one lock uses one core; a healthy one uses several.
GIL_THREADS = 4
# What numpy and torch do without the lock comes on top: up to 135 % was seen of eight threads.
GIL_PERCENT = (60.0, 160.0)
# Busier than this, and the cores rather than the lock may limit the threads.
IDLE_CORES_PERCENT = 90.0
# So many of a process's threads must be inside calls at once, on average, for them to wait for
# each other: threads that take turns on purpose come to 1 at most.
MIN_THREADS_INSIDE = 1.25

ONE_AT_A_TIME = (
    "Python runs one thread of a process at a time: threads that run Python code wait for the "
    "interpreter's lock (GIL), so many threads are as fast as one."
)
RELEASE = "code that releases the lock (numba with nogil=True)"


def _in_engine(report: Report) -> Seen | None:
    """Many threads in one process use one core together, wait, and leave cores idle."""
    if report.machine.cores_usable < 2:
        return None
    for throughput in report.throughput:
        bound = [
            (worker, used)
            for worker in arm_of(report, throughput)
            if (used := _engine_percent(report, throughput, worker)) is not None
        ]
        if bound and not _device_is_the_limit(report, throughput):
            break
    else:
        return None
    worker, used = bound[0]
    threads = worker.threads or 1
    return Seen(
        title=_title(threads),
        cause=ONE_AT_A_TIME,
        evidence=[
            f"worker {w.worker} (pid {w.pid}): {w.threads} threads use {percent:.0f} % of one "
            f"core, {_waiting(w):.0%} of their time waiting"
            for w, percent in bound
        ],
        remedy=f"Search in processes{options(report, '--workers')} instead of threads, or in "
        + RELEASE,
        gain=_gain(report, threads, len(bound), used)
        if throughput is asked(report)
        else gains.unknown(f"the plan is for {report.device}, not for {throughput.device}"),
    )


def _engine_percent(report: Report, throughput: Throughput, worker: WorkerRecord) -> float | None:
    """CPU of a process whose threads share one core, in % of a core; None of any other."""
    many = worker.threads is not None and worker.threads >= GIL_THREADS
    waits = not worker.stage_seconds or _waiting(worker) >= WAITING_SHARE
    within = windows(report, throughput.device)
    used = mean(report, [names.process(worker.pid, "cpu")], within)
    return used if many and waits and _shares_a_core(used, _host(report, within)) else None


def _waiting(worker: WorkerRecord) -> float:
    """Share of a worker's time in which its threads did neither search nor compute."""
    shares = stage_shares([worker])
    return shares.get("wait", 0.0) + shares.get("python", 0.0)


def _device_is_the_limit(report: Report, throughput: Throughput) -> bool:
    """Whether the threads wait for a GPU that works at its limit."""
    if not Device.of(throughput.device).on_cuda:
        return False
    busy, share = gpu_busy(report, throughput), bare_share(report, throughput)
    if share is not None:
        return share >= gains.HEALTHY_SHARE_CUDA / 2
    # Without either figure the GPU is unknown, and so is what the threads wait for.
    return busy is None or busy >= BUSY_PERCENT


def _in_program(report: Report, program: Program) -> Seen | None:
    """Many threads that call networks in one process use one core together; others are idle."""
    if report.machine.cores_usable < 2:
        return None
    bound = [
        (process, used)
        for process in calling(program)
        if (used := _program_percent(report, process)) is not None
    ]
    if not bound or _gpu_is_the_limit(report, program):
        return None
    process, used = bound[0]
    threads = _threads(process)
    cores = _cores(report, threads, len(bound))
    return Seen(
        title=_title(threads),
        cause=ONE_AT_A_TIME,
        evidence=[_line(report, program, p, percent) for p, percent in bound],
        remedy=(
            "Use processes instead of threads: "
            f'torch.multiprocessing.get_context("spawn").Pool({cores}); or {RELEASE}'
        ),
        gain=_gain(report, threads, len(bound), used),
    )


def _threads(process: ProcessRecord) -> int:
    return max(c.threads for c in network_calls(process))


def _program_percent(report: Report, process: ProcessRecord) -> float | None:
    """CPU of a process whose many threads share one core, in % of a core; None of any other."""
    used, inside = cpu_percent(report, process), threads_inside(report, process)
    host = _host(report, steady(report, process), MIN_CPU_SAMPLES)
    if used is None or inside is None or host is None:
        return None
    many = _threads(process) >= GIL_THREADS and inside >= MIN_THREADS_INSIDE
    return used if many and _shares_a_core(used, host) else None


def _gpu_is_the_limit(report: Report, program: Program) -> bool:
    """Whether the threads wait for a GPU that is busy; one that is not known may be."""
    if not callers_on_gpu(program):
        return False
    busy = gpu_level(report, "utilization")
    return busy is None or busy >= BUSY_PERCENT


def _line(report: Report, program: Program, process: ProcessRecord, percent: float) -> str:
    return (
        f"{Family(program).label(process)}: {_threads(process)} threads call "
        f"{network_calls(process)[0].module}, "
        f"{threads_inside(report, process):.1f} of them are inside a call at once, and together "
        f"they use {percent:.0f} % of one core"
    )


def _host(report: Report, within: list[Window], least: int = MIN_SAMPLES) -> float | None:
    """Mean CPU of all cores, %."""
    return mean(report, [names.HOST_CPU], within, least)


def _shares_a_core(percent: float | None, host: float | None) -> bool:
    """Whether a process uses about one core, in % of it, while cores of the host are idle."""
    low, high = GIL_PERCENT
    one_core = percent is not None and low <= percent <= high
    return one_core and host is not None and host <= IDLE_CORES_PERCENT


def _title(threads: int) -> str:
    return f"{threads} threads of one process share one core"


def _cores(report: Report, threads: int, processes: int) -> int:
    """Cores that a process's threads could use."""
    return min(threads, report.machine.cores_usable // max(1, processes))


def _gain(report: Report, threads: int, processes: int, used: float) -> Gain:
    cores = _cores(report, threads, processes)
    return gains.faster(
        report,
        cores * 100 / used,
        f"at most: each of the process's threads on a core of its own, {cores} of them",
    )


CAUSE = Cause(
    name="gil-bound-threads",
    rank=50,
    summary="Many threads of one Python process share its interpreter lock, and so one core",
    seen_as=(
        f"{GIL_THREADS} threads or more in one process, more than one of them inside a call or "
        f"mostly waiting, that together use {GIL_PERCENT[0]:g} to {GIL_PERCENT[1]:g} % of a core "
        "while cores are idle and the GPU is not the limit"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
