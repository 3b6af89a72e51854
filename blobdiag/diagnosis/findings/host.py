"""Cores, threads and memory of the machine that feeds the device."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from statistics import median

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.expectations import EXPECTATIONS
from blobdiag.diagnosis.facts import (
    arm_of,
    arms,
    asked,
    bare_rate,
    bare_share,
    computing_threads,
    gpu_busy,
    kind,
    mean,
    samples,
    stage_shares,
    windows,
)
from blobdiag.diagnosis.findings.flags import flag
from blobdiag.model.judgement import Finding, Gain
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput, WorkerRecord

# Where the device is a GPU, threads of PyTorch that never compute do no harm: the cores must be
# taken up too.
CORES_TAKEN = 0.9
# Four search threads of one intra-op thread each on two cores were as fast as two (1.01).
COSTLY = 1.1
# A second, of one worker, measured on two cores: 50 with a thread a core, 340 with two; 4,600 to
# 7,600 with 2 to 8 intra-op threads a worker.
MANY_SWITCHES = 1_000.0
# A process of so many threads that shares one lock uses one core; a healthy one uses several.
GIL_THREADS = 4
# What numpy and torch do without the lock comes on top: up to 135 % was seen of eight threads.
GIL_PERCENT = (60.0, 160.0)
# Of its time, outside trees, copies and the network's own work.
WAITING_SHARE = 0.5
# Busier than this, and the cores rather than the lock may hold the threads up.
IDLE_CORES_PERCENT = 90.0
BUSY_GPU_PERCENT = EXPECTATIONS["self-play-gpu"].low or 70.0
# What allocators keep grows in the first seconds; in the later three quarters of a healthy run a
# worker's memory moved by up to 1 MiB (reports/reference).
SETTLING_SHARE = 0.25
MIN_GROWTH_MIB = 4.0
MIN_RSS_SAMPLES = 12
# Enough points for the slope; more only cost time, by their square.
MOST_POINTS = 120


QUOTA_NOT_COUNTED = (
    "os.cpu_count() counts the machine's cores. A container's quota of CPU time does not lower it, "
    "and threads beyond the quota are all stopped for the rest of each period."
)
"""Why cores are counted wrong."""


def cpu_oversubscription(report: Report) -> Finding | None:
    """More computing threads than cores: intra-op threads × threads, summed over the workers."""
    cores = report.machine.cores_usable
    crowded = [a for a in arms(report) if _oversubscribes(report, a) and _costs(report, a)]
    arm = max(crowded, key=computing_threads, default=[])
    if not arm:
        return None
    evidence = [
        f"worker {w.worker} (pid {w.pid}): {w.threads} threads × {w.intra_op_threads} intra-op"
        f"{_switches(report, w)}"
        for w in arm
    ]
    return Finding(
        name="cpu-oversubscription",
        title=f"{computing_threads(arm)} computing threads share {cores} usable cores",
        cause="Threads of one core take turns, and OpenMP's spin while they wait for others.",
        evidence=evidence,
        remedy="Call torch.set_num_threads(1) in each worker, and run one thread per usable core.",
        gain=_gain_of_own_cores(report, arm),
    )


def _oversubscribes(report: Report, arm: Sequence[WorkerRecord]) -> bool:
    cores = report.machine.cores_usable
    # Threads that mostly wait, for each other's lock or for a server, do not compete for cores.
    waiting = stage_shares(arm).get("wait", 0.0)
    if computing_threads(arm) <= cores or waiting >= WAITING_SHARE:
        return False
    # Workers whose networks are on the CPU compute there, whatever was asked for.
    on_cpu = any("cpu" in worker.parameter_devices for worker in arm)
    used = _cores_used(report, arm)
    return on_cpu or (used is not None and used >= CORES_TAKEN * cores)


def _cores_used(report: Report, arm: Sequence[WorkerRecord]) -> float | None:
    """Cores that the workers keep busy during self-play, all together."""
    means = [mean(report, [f"process/{w.pid}/cpu"], windows(report)) for w in arm]
    known = [value for value in means if value is not None]
    return sum(known) / 100 if known and len(known) == len(means) else None


def _costs(report: Report, arm: Sequence[WorkerRecord]) -> bool:
    """Whether taking turns is seen to cost something: in the rate, or in threads sent off cores.

    The network alone is measured for a second, so a disturbance can hide the loss in the rate.
    """
    factor = _gain_of_own_cores(report, arm).self_play_factor
    switches = [rate for worker in arm if (rate := _switches_per_s(report, worker)) is not None]
    slower = factor is not None and factor >= COSTLY
    return slower or max(switches, default=0.0) >= MANY_SWITCHES


def _switches_per_s(report: Report, worker: WorkerRecord) -> float | None:
    """How often a worker's threads were taken off a core during self-play."""
    counts = samples(report, f"process/{worker.pid}/involuntary_switches", windows(report))
    if len(counts) < 2:
        return None
    (start, first), (end, last) = counts[0], counts[-1]
    return (last - first) / (end - start) if end > start and last >= first else None


def _switches(report: Report, worker: WorkerRecord) -> str:
    rate = _switches_per_s(report, worker)
    return "" if rate is None else f", {rate:,.0f} involuntary switches/s"


def _gain_of_own_cores(report: Report, arm: Sequence[WorkerRecord]) -> Gain:
    throughput = asked(report)
    if throughput is None or kind(throughput.device) != kind(arm[0].device_asked):
        return gains.unknown(f"self-play on {report.device} was not measured with these workers")
    bare, what = bare_rate(report, throughput), "with one intra-op thread each"
    return gains.up_to_healthy(report, throughput, bare, what)


def cores_counted_wrong(report: Report) -> Finding | None:
    """A container may use fewer cores than it sees, and threads were made for those it sees."""
    machine = report.machine
    quota, cores = machine.cgroup_cpu_quota, machine.cores_usable
    arm = max(arms(report), key=computing_threads, default=[])
    threads = computing_threads(arm)
    if quota is None or quota >= machine.cores_total or threads <= max(quota, cores):
        return None
    return Finding(
        name="cores-counted-wrong",
        title=f"{threads} threads were started for {cores} cores: the machine shows more",
        cause=QUOTA_NOT_COUNTED,
        evidence=[
            f"cgroup quota {quota:g} cores, os.cpu_count() {machine.cores_total}, usable {cores}",
            f"{len(arm)} workers with {threads} computing threads",
        ],
        remedy=(
            f"One thread a core{flag(report, f'--workers {cores} --threads 1')}: count "
            "len(os.sched_getaffinity(0)) and the quota in /sys/fs/cgroup/cpu.max, not "
            "os.cpu_count()"
        ),
        gain=_gain_of_own_cores(report, arm),
    )


def gil_bound_threads(report: Report) -> Finding | None:
    """Many threads in one process that together use one core, while they wait and cores idle."""
    if report.machine.cores_usable < 2:
        return None
    for throughput in report.throughput:
        bound = [
            (worker, used)
            for worker in arm_of(report, throughput)
            if (used := _gil_percent(report, throughput, worker)) is not None
        ]
        if bound and not _device_is_the_limit(report, throughput):
            break
    else:
        return None
    worker, used = bound[0]
    cores = min(worker.threads or 1, report.machine.cores_usable // max(1, len(bound)))
    return Finding(
        name="gil-bound-threads",
        title=f"{worker.threads} threads of one process share one core",
        cause=(
            "Python runs one thread of a process at a time. Threads that search in Python wait "
            "for its lock, so a process of many is as fast as one of one."
        ),
        evidence=[
            f"worker {w.worker} (pid {w.pid}): {w.threads} threads use {percent:.0f} % of one "
            f"core, {_waiting(w):.0%} of their time waiting"
            for w, percent in bound
        ],
        remedy=(
            f"Search in processes{flag(report, '--workers')} instead of threads, or in code that "
            "lets go of the lock (numba with nogil=True)"
        ),
        gain=gains.faster(
            report,
            max(1.0, cores * 100 / used),
            f"at most: each of the process's threads on a core of its own, {cores} of them",
        )
        if throughput is asked(report)
        else gains.unknown(f"the plan is for {report.device}, not for {throughput.device}"),
    )


def _gil_percent(report: Report, throughput: Throughput, worker: WorkerRecord) -> float | None:
    """CPU of a process whose threads share one core, in % of a core; None of any other."""
    within = windows(report, throughput.device)
    used = mean(report, [f"process/{worker.pid}/cpu"], within)
    host = mean(report, ["host/cpu"], within)
    low, high = GIL_PERCENT
    one_core = used is not None and low <= used <= high
    cores_idle = host is not None and host <= IDLE_CORES_PERCENT
    waits = not worker.stage_seconds or _waiting(worker) >= WAITING_SHARE
    many = worker.threads is not None and worker.threads >= GIL_THREADS
    return used if many and one_core and cores_idle and waits else None


def _waiting(worker: WorkerRecord) -> float:
    """Share of a worker's time in which its threads did neither search nor compute."""
    shares = stage_shares([worker])
    return shares.get("wait", 0.0) + shares.get("python", 0.0)


def _device_is_the_limit(report: Report, throughput: Throughput) -> bool:
    """Whether the threads wait for a GPU that has all it can do."""
    if kind(throughput.device) != "cuda":
        return False
    busy, share = gpu_busy(report, throughput), bare_share(report, throughput)
    if share is not None:
        return share >= gains.HEALTHY_SHARE_CUDA / 2
    # Without either figure nothing is known of the GPU, and so nothing of the threads.
    return busy is None or busy >= BUSY_GPU_PERCENT


def memory_grows(report: Report) -> Finding | None:
    """A worker's memory rises with the games it plays, and does not stop rising."""
    growing = [
        (worker, throughput, slope, seconds)
        for throughput in report.throughput
        for worker in arm_of(report, throughput)
        for slope, seconds in [_growth(report, throughput, worker)]
        if slope * seconds >= MIN_GROWTH_MIB
    ]
    if not growing:
        return None
    evidence = []
    for worker, throughput, slope, seconds in growing:
        line = (
            f"worker {worker.worker} (pid {worker.pid}): at least {slope * seconds:.1f} MiB more "
            f"in {seconds:.0f} s, {60 * slope:.1f} MiB/min"
        )
        games = (throughput.games_per_minute.value or 0.0) / max(1, throughput.workers or 0)
        if games and throughput.workers:
            line += f", {1024 * 60 * slope / games:.1f} KiB a game"
        evidence.append(line)
    per_minute = sum(60 * slope for _, _, slope, _ in growing)
    left = report.machine.memory_gib * 1024 / per_minute
    return Finding(
        name="memory-grows",
        title=f"Workers' memory grows by {per_minute:,.0f} MiB a minute",
        cause="Something made for each game (a tree, examples, a cache) is kept when it is over.",
        evidence=[*evidence, f"at this pace the machine's memory is full after {left:,.0f} min"],
        remedy=(
            "Find what holds it (tracemalloc, or memray attach PID), free each game's tree, and "
            "send examples away as games end"
        ),
        gain=gains.unknown("it costs nothing until memory is full, and then the run"),
    )


def _growth(report: Report, throughput: Throughput, worker: WorkerRecord) -> tuple[float, float]:
    """(MiB/s that a worker's memory grows at least, seconds it was watched), settled."""
    points = samples(report, f"process/{worker.pid}/rss", windows(report, throughput.device))
    points = points[int(len(points) * SETTLING_SHARE) :]
    if len(points) < MIN_RSS_SAMPLES:
        return 0.0, 0.0
    return least_slope(points[:: -(-len(points) // MOST_POINTS)]), points[-1][0] - points[0][0]


def least_slope(points: Sequence[tuple[float, float]]) -> float:
    """Lower 97.5 % bound of the Theil–Sen slope of (time, value), not above either half's slope.

    The bound is Sen's (1968), from the normal approximation of Kendall's statistic. A curve that
    flattens out has a later half without a slope: what stops growing does not leak.
    """
    slopes = sorted(_slopes(points))
    n = len(points)
    spread = 1.96 * sqrt(n * (n - 1) * (2 * n + 5) / 18)
    rank = max(0, int((len(slopes) - spread) / 2))
    halves = (points[: n // 2], points[n // 2 :])
    return min(slopes[rank], *(median(_slopes(half)) for half in halves))


def _slopes(points: Sequence[tuple[float, float]]) -> list[float]:
    return [(v - u) / (t - s) for (s, u), (t, v) in combinations(points, 2) if t > s]
