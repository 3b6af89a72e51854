"""What a GPU does with its time and its memory."""

from __future__ import annotations

from collections import Counter

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.expectations import EXPECTATIONS
from blobdiag.diagnosis.facts import (
    arm_of,
    bare_rate,
    bare_share,
    gpu_busy,
    gpu_mean,
    kind,
    series,
    stage_shares,
)
from blobdiag.diagnosis.findings.flags import flag, is_built_in
from blobdiag.model.judgement import Finding, Gain
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# The bug report calls 70 % busy; a share of the bare network below 0.35 is starved.
BUSY_PERCENT = EXPECTATIONS["self-play-gpu"].low or 70.0
STARVED_SHARE = EXPECTATIONS["bare-network-share"].low or 0.35
# "A value less than 0.5 likely indicates ineffective GPU usage" (NVIDIA DCGM, SM activity);
# half of that, since a small network leaves most of a large GPU empty.
STARVED_SM_PERCENT = 25.0
# One process a GPU is enough and is the engine's default; contexts take turns, and more than so
# many spend the turns on each other. 16 and more are what people run (design, §5, catalogue).
MANY_CONTEXTS = 8
SATURATED_PERCENT = 90.0
# More workers must not cost throughput: a fall of a fifth is beyond runs' spread (3.7 %).
FALLING = 0.8
# Copies overlap with the network in a healthy engine, where they take under a tenth.
COPY_SHARE = 0.4
# PyTorch's allocator fails when it cannot get its next block of up to a twentieth.
FULL_MEMORY = 0.95


def busy_but_starved(report: Report) -> Finding | None:
    """Utilisation is high, yet the network does a small part of what it does alone."""
    for throughput in _on_cuda(report):
        busy = gpu_busy(report, throughput)
        share = bare_share(report, throughput)
        activity = gpu_mean(report, throughput, "sm_activity")
        if share is None:
            starved = activity is not None and activity < STARVED_SM_PERCENT
        else:
            starved = share < STARVED_SHARE
        if busy is not None and busy >= BUSY_PERCENT and starved:
            break
    else:
        return None
    evidence = [f"{throughput.device}: utilisation {busy:.0f} %"]
    if share is not None:
        evidence.append(_share_line(report, throughput, share))
    if activity is not None:
        evidence.append(f"{throughput.device}: SM activity {activity:.0f} %")
    if throughput.mean_batch is not None:
        evidence.append(f"{throughput.device}: mean batch {throughput.mean_batch:.1f}")
    return Finding(
        name="busy-but-starved",
        title=f"The GPU is {busy:.0f} % busy with very little work",
        cause=(
            "Utilisation counts the time in which any kernel ran, however small: one launch after "
            "the other reads 100 % while nearly all of the GPU stands empty."
        ),
        evidence=evidence,
        remedy=(
            f"Give the GPU more rows a call{flag(report, '--lanes')} from fewer "
            f"processes{flag(report, '--workers')} with a thread for each "
            f"core{flag(report, '--threads')}"
            + ("; blobdiag tune finds the numbers" if is_built_in(report) else "")
        ),
        gain=_up_to_healthy(report, throughput),
    )


def too_many_workers(report: Report) -> Finding | None:
    """Processes that share one GPU take turns, and spend them on changing turns."""
    for throughput in _on_cuda(report):
        contexts = _contexts(report, throughput)
        better = _with_fewer_workers(report, throughput)
        if contexts > MANY_CONTEXTS and (better or _thrashes(report, throughput)):
            break
    else:
        return None
    rate, busy = throughput.evaluations_per_second.value, gpu_busy(report, throughput)
    evidence = [f"{contexts} processes on one GPU"]
    if busy is not None:
        evidence.append(f"{throughput.device}: utilisation {busy:.0f} %")
    if rate is not None and throughput.workers:
        evidence.append(f"{rate / throughput.workers:,.0f} evals/s a worker")
    if (share := bare_share(report, throughput)) is not None:
        evidence.append(_share_line(report, throughput, share))
    if better is not None:
        factor = (better.games_per_minute.value or 0) / (throughput.games_per_minute.value or 1)
        evidence.append(f"{better.workers} workers play {factor:.1f} × as many games/min")
        gain = gains.faster(report, factor, f"measured in this run with {better.workers} workers")
    else:
        gain = _up_to_healthy(report, throughput)
    return Finding(
        name="too-many-workers",
        title=f"{contexts} workers share one GPU and hold each other up",
        cause=(
            "Each process has its own CUDA context, and without MPS a GPU runs one context at a "
            "time: more workers add switches, memory and smaller batches, not work done."
        ),
        evidence=evidence,
        remedy=(
            f"One worker a GPU{flag(report, '--workers 1')} with more games in progress and more "
            f"threads{flag(report, '--lanes', '--threads')}"
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
        for t in _on_cuda(report)
        if t.workers is not None
        and workers is not None
        and t.workers < workers
        and rate is not None
        and rate < FALLING * (t.games_per_minute.value or 0.0)
    ]
    return max(rows, key=lambda t: t.games_per_minute.value or 0.0, default=None)


def _thrashes(report: Report, throughput: Throughput) -> bool:
    busy, share = gpu_busy(report, throughput), bare_share(report, throughput)
    activity = gpu_mean(report, throughput, "sm_activity")
    if busy is None or busy < SATURATED_PERCENT:
        return False
    if share is not None:
        return share < STARVED_SHARE
    return activity is not None and activity < STARVED_SM_PERCENT


def transfer_bound(report: Report) -> Finding | None:
    """Copies between host and GPU take more of the workers' time than they may."""
    for throughput in _on_cuda(report):
        copying = stage_shares(arm_of(report, throughput)).get("copy", 0.0)
        if copying >= COPY_SHARE:
            break
    else:
        return None
    evidence = [f"{throughput.device}: {copying:.0%} of the workers' time in copies"]
    for metric in ("pcie_received", "pcie_sent"):
        # Averages of the driver's own, read every few seconds: a few will do.
        rate = gpu_mean(report, throughput, metric, least=1)
        if rate is not None:
            evidence.append(f"{throughput.device}: {metric} {rate:,.0f} MiB/s")
    if (busy := gpu_busy(report, throughput)) is not None:
        evidence.append(f"{throughput.device}: utilisation {busy:.0f} %")
    return Finding(
        name="transfer-bound",
        title=f"Workers spend {copying:.0%} of their time on copies to and from the GPU",
        cause=(
            "Positions and answers cross the bus in pageable memory, or one by one, and each copy "
            "waits for the one before: the network waits with it."
        ),
        evidence=evidence,
        remedy=(
            "Copy whole batches from page-locked memory: tensor.pin_memory() once, then "
            ".to(device, non_blocking=True), in the dtype the network wants"
        ),
        gain=gains.faster(
            report, 1 / max(1 - copying, 0.01), "at most: the workers' time without the copies"
        ),
    )


def near_out_of_memory(report: Report) -> Finding | None:
    """A GPU's memory is all but full: the next larger batch ends the run."""
    evidence = []
    for gpu in report.gpus:
        used = series(report, f"gpu/{gpu.uuid}/memory_used")
        most = max((v for v in used.values if v is not None), default=None) if used else None
        if most is not None and gpu.memory_mib and most >= FULL_MEMORY * gpu.memory_mib:
            evidence.append(f"{gpu.name}: {most:,.0f} of {gpu.memory_mib:,.0f} MiB in use")
    if not evidence:
        return None
    return Finding(
        name="near-out-of-memory",
        title="The GPU's memory is all but full",
        cause=(
            "Each worker holds a CUDA context, the network and its batches; training adds "
            "gradients and moments. What is left does not hold another block."
        ),
        evidence=evidence,
        remedy=(
            f"Fewer workers a GPU{flag(report, '--workers')}, or fewer games in "
            f"progress{flag(report, '--lanes')}; end other GPU programs"
        ),
        gain=gains.unknown("it costs nothing until an allocation fails, and then the run"),
    )


def _on_cuda(report: Report) -> list[Throughput]:
    return [t for t in report.throughput if kind(t.device) == "cuda"]


def _share_line(report: Report, throughput: Throughput, share: float) -> str:
    achieved = throughput.evaluations_per_second.value or 0.0
    bare = bare_rate(report, throughput) or 0.0
    return (
        f"{throughput.device}: {share:.2f} of the bare network "
        f"({achieved:,.0f} of {bare:,.0f} evals/s)"
    )


def _up_to_healthy(report: Report, throughput: Throughput) -> Gain:
    bare = bare_rate(report, throughput)
    return gains.up_to_healthy(report, throughput, bare, "at its best")
