"""More computing threads than cores, where taking turns costs something."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._threads import (
    COSTLY,
    WAITING_SHARE,
    crowd,
    gain_of_own_cores,
    intra_op_words,
    switches_per_second,
    total_threads,
)
from blobdiag.diagnosis.facts import arms, computing_threads, mean, stage_shares, windows
from blobdiag.diagnosis.program import Family, shortened, steady
from blobdiag.model import names
from blobdiag.model.program import Program
from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord

# Where the device is a GPU, threads of PyTorch that never compute do no harm: the cores must be
# taken up too.
CORES_TAKEN = 0.9
# A second, of one worker, measured on two cores: 50 with a thread a core, 340 with two; 4,600 to
# 7,600 with 2 to 8 intra-op threads a worker.
MANY_SWITCHES = 1_000.0

TAKE_TURNS = "Threads of one core take turns, and OpenMP's threads spin while they wait for others."


def _in_engine(report: Report) -> Seen | None:
    """Intra-op threads × search threads, summed over the workers."""
    cores = report.machine.cores_usable
    crowded = [a for a in arms(report) if _oversubscribes(report, a) and _costs(report, a)]
    arm = max(crowded, key=computing_threads, default=[])
    if not arm:
        return None
    return Seen(
        title=f"{computing_threads(arm)} computing threads share {cores} usable cores",
        cause=TAKE_TURNS,
        evidence=[
            f"worker {w.worker} (pid {w.pid}): {w.threads} threads × {w.intra_op_threads} intra-op"
            f"{_line(_switches(report, w))}"
            for w in arm
        ],
        remedy="Call torch.set_num_threads(1) in each worker, and run one thread per usable core.",
        gain=gain_of_own_cores(report, arm),
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
    means = [mean(report, [names.process(w.pid, "cpu")], windows(report)) for w in arm]
    known = [value for value in means if value is not None]
    return sum(known) / 100 if known and len(known) == len(means) else None


def _costs(report: Report, arm: Sequence[WorkerRecord]) -> bool:
    """Whether taking turns costs something: in the rate, or in threads taken off cores.

    The network alone is measured for a second, so a disturbance can hide the loss in the rate.
    """
    factor = gain_of_own_cores(report, arm).self_play_factor
    switches = [rate for worker in arm if (rate := _switches(report, worker)) is not None]
    slower = factor is not None and factor >= COSTLY
    return slower or max(switches, default=0.0) >= MANY_SWITCHES


def _switches(report: Report, worker: WorkerRecord) -> float | None:
    return switches_per_second(report, worker.pid, windows(report))


def _line(rate: float | None) -> str:
    return "" if rate is None else f", {rate:,.0f} involuntary switches/s"


def _in_program(report: Report, program: Program) -> Seen | None:
    """Processes that compute beside each other have more intra-op threads than there are cores.

    That is no loss by itself: small networks compute in one thread, whatever is allowed. It is one
    where threads are seen to be taken off the cores.
    """
    cores, crowded = report.machine.cores_usable, crowd(report, program)
    rates = [switches_per_second(report, c.process.pid, steady(report, c.process)) for c in crowded]
    worst = max((rate for rate in rates if rate is not None), default=0.0)
    threads = total_threads(crowded)
    # With one thread each, the processes are too many, not their threads.
    several = any(c.threads > 1 for c in crowded)
    if threads <= cores or not several or worst < MANY_SWITCHES:
        return None
    family = Family(program)
    return Seen(
        title=f"{threads} computing threads of {len(crowded)} processes share {cores} usable cores",
        cause=(
            "Each process computes with as many threads as it sees cores; what the parent sets "
            f"does not reach a spawned worker. {TAKE_TURNS}"
        ),
        evidence=shortened(
            [
                f"{family.label(c.process)}: {intra_op_words(c.threads)}{_line(rate)}"
                for c, rate in zip(crowded, rates, strict=True)
            ]
        ),
        remedy="At each worker's start: torch.set_num_threads(1)",
        gain=gains.unknown("these calls were not measured with one thread each"),
    )


CAUSE = Cause(
    name="cpu-oversubscription",
    rank=70,
    summary="More threads compute than there are cores, and take turns on them",
    seen_as=(
        "more computing threads than usable cores in processes that run at the same time, with "
        f"{MANY_SWITCHES:,.0f} involuntary context switches a second or more in one of them, or in "
        f"an engine that one thread a core would make {COSTLY:g} × as fast or more"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
