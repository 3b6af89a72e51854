"""Many processes on one GPU, which take turns."""

from __future__ import annotations

from collections import Counter

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._calls import ONE_CALL
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._gpu import (
    CONTEXTS_TAKE_TURNS,
    STARVED_SM_PERCENT,
    callers_on_gpu,
    gain_of_full_gpu,
    gpu_lines,
    on_cuda,
    share_lines,
    starved,
)
from blobdiag.diagnosis.causes._options import options
from blobdiag.diagnosis.facts import arm_of, gpu_busy
from blobdiag.diagnosis.program import gpu_level, gpus_used
from blobdiag.model.program import Program
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# One process a GPU is enough and is the engine's default. 16 and more are what people run.
MANY_CONTEXTS = 8
SATURATED_PERCENT = 90.0
# More workers must not cost throughput: a fall of a fifth is beyond runs' spread (3.7 %).
FALLING = 0.8


def _in_engine(report: Report) -> Seen | None:
    for throughput in on_cuda(report):
        contexts = _contexts(report, throughput)
        better = _with_fewer_workers(report, throughput)
        if contexts > MANY_CONTEXTS and (better or _saturated(report, throughput)):
            break
    else:
        return None
    rate, busy = throughput.evaluations_per_second.value, gpu_busy(report, throughput)
    evidence = [f"{contexts} processes on one GPU"]
    if busy is not None:
        evidence.append(f"{throughput.device}: utilisation {busy:.0f} %")
    if rate is not None and throughput.workers:
        evidence.append(f"{rate / throughput.workers:,.0f} evals/s a worker")
    evidence += share_lines(report, throughput)
    if better is not None:
        factor = (better.games_per_minute.value or 0) / (throughput.games_per_minute.value or 1)
        evidence.append(f"{better.workers} workers play {factor:.1f} × as many games/min")
        gain = gains.faster(report, factor, f"measured in this run with {better.workers} workers")
    else:
        gain = gain_of_full_gpu(report, throughput)
    return Seen(
        title=f"{contexts} workers share one GPU and delay each other",
        cause=CONTEXTS_TAKE_TURNS,
        evidence=evidence,
        remedy=(
            f"One worker a GPU{options(report, '--workers 1')} with more games in progress and "
            f"more threads{options(report, '--lanes', '--threads')}"
        ),
        gain=gain,
    )


def _contexts(report: Report, throughput: Throughput) -> int:
    """The most workers on one GPU; all of them where none named its GPU."""
    workers = arm_of(report, throughput)
    by_gpu = Counter(w.device_uuid for w in workers if w.device_uuid is not None)
    unnamed = throughput.workers if len(report.gpus) == 1 else 0
    return max(by_gpu.values(), default=unnamed or 0)


def _with_fewer_workers(report: Report, throughput: Throughput) -> Throughput | None:
    """Another row of the same device, with fewer workers and plainly more games."""
    rate, workers = throughput.games_per_minute.value, throughput.workers
    rows = [
        t
        for t in on_cuda(report)
        if t.workers is not None
        and workers is not None
        and t.workers < workers
        and rate is not None
        and rate < FALLING * (t.games_per_minute.value or 0.0)
    ]
    return max(rows, key=lambda t: t.games_per_minute.value or 0.0, default=None)


def _saturated(report: Report, throughput: Throughput) -> bool:
    busy = gpu_busy(report, throughput)
    return busy is not None and busy >= SATURATED_PERCENT and starved(report, throughput)


def _in_program(report: Report, program: Program) -> Seen | None:
    busy, activity = gpu_level(report, "utilization"), gpu_level(report, "sm_activity")
    each = len(callers_on_gpu(program)) / max(1, len(gpus_used(report)))
    if each <= MANY_CONTEXTS or busy is None or activity is None:
        return None
    if busy < SATURATED_PERCENT or activity >= STARVED_SM_PERCENT:
        return None
    return Seen(
        title=f"{each:.0f} processes share a GPU and delay each other",
        cause=CONTEXTS_TAKE_TURNS,
        evidence=gpu_lines(program, busy, activity),
        remedy=f"Start one process a GPU that calls the network with more rows: {ONE_CALL}",
        gain=gains.unknown("the program was not measured with fewer workers"),
    )


CAUSE = Cause(
    name="too-many-workers",
    rank=40,
    summary="Processes that share one GPU take turns, and lose time on context switches",
    seen_as=(
        f"more than {MANY_CONTEXTS} processes a GPU, where fewer workers played faster in the same "
        f"run, or the GPU is {SATURATED_PERCENT:g} % busy and starved (see `busy-but-starved`)"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
