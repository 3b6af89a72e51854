"""Memory that self-play and training need on a GPU and on the host: one formula per term.

The engine writes its sizes into the report. torch's allocator rounds up (blocks to 512 B, segments
to 2 or 20 MiB), so a worker takes a little more than the sum; if a run measured the difference, it
is a separate term.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from blobdiag.diagnosis.facts import arm_of, gpus, samples, windows
from blobdiag.diagnosis.gpu_processes import MOST_CONTEXT_MIB
from blobdiag.diagnosis.old_memory_figures import old_memory_figures
from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.model.capacity import Fit, Memory, MemoryTerm
from blobdiag.model.device import Device
from blobdiag.model.memory_figures import MemoryFigures
from blobdiag.model.names import EXAMPLES_MADE
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

GB = 10**9
MIB = 2**20


# Per stream, larger from Hopper on. Source: torch, aten/src/ATen/cuda/CublasHandlePool.cpp.
CUBLAS_MIB, CUBLAS_MIB_HOPPER = 8.125, 32.0
HOPPER = 9
"""Major compute capability."""

BYTES = {"float32": 4, "bfloat16": 2}


def batch_rows(lanes: float, figures: MemoryFigures) -> int:
    """Rows of the batch that `lanes` lanes fill, rounded as the engine does."""
    full = int(lanes * figures.trees_per_lane * figures.full_share)
    return max(figures.trees_per_lane, full // figures.row_multiple * figures.row_multiple)


class Card(NamedTuple):
    """The workers and batches on one GPU."""

    workers: int
    batches: int
    """Number of batches of all workers: one per group of lanes."""
    rows: int
    """Rows of a batch."""
    dtype: str
    context: Metric
    """MiB per process."""
    workspace: Metric
    """MiB per batch."""


class Pool(NamedTuple):
    """Workers of the built-in engine, all devices together."""

    workers: int
    threads: int
    lanes: int
    dtype: str


def pool_of(throughput: Throughput) -> Pool | None:
    """The workers behind a throughput; None if one of their numbers is unknown."""
    one = throughput
    if not one.workers or not one.threads or not one.lanes or one.dtype is None:
        return None  # not known, or a report says 0, which cannot be
    return Pool(one.workers, one.threads, one.lanes, one.dtype)


def card_of(report: Report, throughput: Throughput, pool: Pool, figures: MemoryFigures) -> Card:
    """One of the run's GPUs with its share of the workers; a CPU run is treated as on one GPU."""
    used = len(gpus(report, arm_of(report, throughput))) if _on_cuda(throughput) else 1
    workers = ceil(pool.workers / max(1, used))
    groups = pool.threads * figures.groups_per_thread
    return Card(
        workers=workers,
        batches=workers * groups,
        rows=batch_rows(pool.lanes / pool.workers / groups, figures),
        dtype=pool.dtype,
        context=_context(report, throughput),
        workspace=_workspace(report),
    )


def memory_of(report: Report, throughput: Throughput, card_gb: float | None = None) -> Memory | str:
    """The memory that a device's self-play needs; a line with the reason if it is unknown.

    With `card_gb` (10^9 bytes) also the largest batch and lanes that fit a GPU of that size.
    """
    figures, pool = report.memory or old_memory_figures(report), pool_of(throughput)
    if figures is None or pool is None:
        return "the report does not hold its network and search settings"
    if pool.dtype not in figures.activation_row_bytes:
        return f"the engine's sizes are not known for {pool.dtype}"
    card = card_of(report, throughput, pool, figures)
    row = figures.activation_row_bytes[pool.dtype]
    activations = _term(
        "activations",
        card.batches * card.rows * row / MIB,
        f"{card.batches} batches × {card.rows:,} rows × {row:,} B",
    )
    fixed = _worker_terms(card, figures)
    fixed += _beyond(report, throughput, card, [*fixed, activations])
    fixed += _trainer(report, figures, card.context)
    fixed_mib = sum(term.mib for term in fixed)
    return Memory(
        terms=[*fixed, activations],
        total_mib=fixed_mib + activations.mib,
        rows_per_batch=card.rows,
        assumptions=_assumptions(throughput, card),
        host=_term(
            "lanes, on the host",
            pool.lanes * figures.lane_bytes / MIB,
            f"{pool.lanes:,} lanes × {figures.lane_bytes:,} B",
        ),
        host_lanes=int(report.machine.memory_gib * 2**30 / figures.lane_bytes),
        fit=None if card_gb is None else _fit(card_gb, fixed_mib, card, row, figures),
    )


def _term(name: str, mib: float, formula: str) -> MemoryTerm:
    return MemoryTerm(name=name, mib=mib, formula=formula)


def _on_cuda(throughput: Throughput) -> bool:
    return Device.of(throughput.device).on_cuda


def _worker_terms(card: Card, figures: MemoryFigures) -> list[MemoryTerm]:
    """Terms of the workers that do not depend on the batch; the CUDA context comes first."""
    n, size = card.workers, BYTES[card.dtype]
    context, workspace = card.context.value or 0.0, card.workspace.value or 0.0
    return [
        _term("CUDA context", n * context, f"{n} workers × {context:,.0f} MiB"),
        _term(
            "weights, plain form",
            n * 4 * figures.parameters / MIB,
            f"{n} workers × {figures.parameters:,} parameters × 4 B",
        ),
        _term(
            "weights, inference form",
            n * size * figures.inference_parameters / MIB,
            f"{n} workers × {figures.inference_parameters:,} × {size} B ({card.dtype})",
        ),
        _term(
            "folding",
            n * figures.folding_bytes / MIB,
            f"{n} workers × {figures.folding_bytes:,} B (float64)",
        ),
        _term(
            "cuBLAS workspaces",
            card.batches * workspace,
            f"{card.batches} batches × {workspace:g} MiB",
        ),
    ]


def _beyond(
    report: Report, throughput: Throughput, card: Card, modelled: list[MemoryTerm]
) -> list[MemoryTerm]:
    """What torch reserved beyond the modelled terms; empty if it was not measured."""
    workers = arm_of(report, throughput)
    measured = [w.gpu_memory_mib for w in workers if w.gpu_memory_mib is not None]
    if not measured:
        return []
    most = max(measured)
    by_torch = sum(term.mib for term in modelled[1:])
    formula = f"{card.workers} workers × {most:,.0f} MiB that torch reserved, less its terms"
    return [_term("beyond the model", card.workers * most - by_torch, formula)]


def _assumptions(throughput: Throughput, card: Card) -> list[str]:
    said = [known.reason for known in (card.context, card.workspace) if known.reason]
    as_if = "measured on the CPU: all workers are assumed to compute on one card"
    return said if _on_cuda(throughput) else [as_if, *said]


def _workspace(report: Report) -> Metric:
    """MiB of cuBLAS workspace per stream."""
    major = [float(gpu.compute_capability) // 1 for gpu in report.gpus if gpu.compute_capability]
    mib = CUBLAS_MIB if major and max(major) < HOPPER else CUBLAS_MIB_HOPPER
    reason = None if major else f"cuBLAS workspaces are assumed to be {mib:g} MiB, as on Hopper"
    return Metric(name="cuBLAS workspace", value=mib, unit="MiB", reason=reason)


def _context(report: Report, throughput: Throughput) -> Metric:
    """MiB that a worker's process holds beside torch's allocations; assumed if not measured."""
    seen = []
    for worker in arm_of(report, throughput):
        name = names.gpu_process(worker.device_uuid or "", worker.pid, "memory")
        listed = [mib for _, mib in samples(report, name, windows(report, throughput.device))]
        if listed and worker.gpu_memory_mib is not None:
            seen.append(max(listed) - worker.gpu_memory_mib)
    if seen and min(seen) >= 0:
        return Metric(name="CUDA context", value=max(seen), unit="MiB", samples=len(seen))
    return Metric(
        name="CUDA context",
        value=float(MOST_CONTEXT_MIB),
        unit="MiB",
        reason=f"the CUDA context's size is unknown: the maximum, {MOST_CONTEXT_MIB:,} MiB per "
        "process, is assumed",
    )


def _trainer(report: Report, figures: MemoryFigures, context: Metric) -> list[MemoryTerm]:
    """Terms of the training process; empty if the run did not train."""
    values = {metric.name: metric.value for metric in report.metrics}
    made, steps = values.get(EXAMPLES_MADE), values.get("training steps")
    times = values.get("each example trained on")
    if not (made and steps and times):
        return []
    batch, row = round(made * times / steps), figures.training_row_bytes
    return [
        _term("trainer: CUDA context", context.value or 0.0, f"1 × {context.value:,.0f} MiB"),
        _term(
            "trainer: weights",
            16 * figures.parameters / MIB,
            f"{figures.parameters:,} × (weight, gradient, AdamW's 2 moments) × 4 B",
        ),
        _term("trainer: activations", batch * row / MIB, f"{batch:,} rows × {row:,} B"),
    ]


def _fit(card_gb: float, fixed_mib: float, card: Card, row: int, figures: MemoryFigures) -> Fit:
    """The largest batch that fits, and the lanes that keep it full."""
    left, multiple = card_gb * GB - fixed_mib * MIB, figures.row_multiple
    rows = int(left / card.batches / row) // multiple * multiple if left > 0 else 0
    if rows < max(multiple, figures.trees_per_lane):
        alone = fixed_mib * MIB / GB
        reason = f"the terms that do not depend on the batch already take {alone:.2f} GB"
        return Fit(card_gb=card_gb, reason=reason)
    # The most lanes whose batch is no larger: the inverse of `batch_rows`.
    lanes = ceil((rows + multiple) / (figures.trees_per_lane * figures.full_share)) - 1
    return Fit(
        card_gb=card_gb,
        rows_per_batch=rows,
        lanes_per_worker=lanes * card.batches // card.workers,
    )
