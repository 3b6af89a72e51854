"""What a card, and the host, must hold for self-play and training: a formula for each term.

The numbers of the engine stand here without importing it; a test holds the two together. torch's
allocator rounds up (blocks to 512 B, segments to 2 or 20 MiB), so a real worker holds a little more
than the sum; where a run measured it, the difference is a term of its own.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from blobdiag.diagnosis.facts import arm_of, gpus, kind, samples, windows
from blobdiag.diagnosis.gpu_processes import MOST_CONTEXT_MIB
from blobdiag.model.base import Metric
from blobdiag.model.capacity import Fit, Memory, MemoryTerm
from blobdiag.model.names import EXAMPLES_MADE
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput
from blobdiag.sampling.nvidia.processes import MIB

GB = 10**9

STATE_DIM, ACTIONS, SEATS = 256, 66, 8
ANSWERS = ACTIONS + SEATS
LANE, GAME, NODE, EDGE, TREE = 64, 120, 32, 24, 12
"""Bytes of the engine's records."""
PAD, FULL_SHARE = 16, 0.75
"""A batch is a multiple of PAD rows, and FULL_SHARE of its lanes' trees."""
GROUPS_ON_CUDA = 2
"""Groups of lanes a search thread, each with a batch of its own."""

# torch, aten/src/ATen/cuda/CublasHandlePool.cpp: one for each stream, larger from Hopper on.
CUBLAS_MIB, CUBLAS_MIB_HOPPER = 8.125, 32.0
HOPPER = 9
"""Its major compute capability."""

BYTES = {"float32": 4, "bfloat16": 2}


class Shape(NamedTuple):
    """A BlobNet's, as in `--network EMB-LAYERS-HEADS-FF`."""

    dim: int
    layers: int
    heads: int
    wide: int

    @property
    def parameters(self) -> int:
        """Of the plain form, which is trained."""
        d, f = self.dim, self.wide
        layer = 4 * (d * d + d) + 2 * d * f + f + d + 4 * d
        policy = d * d + d + d * ACTIONS + ACTIONS
        value = d * (d // 2) + d // 2 + (d // 2) * SEATS + SEATS
        return (STATE_DIM + 1) * d + self.layers * layer + policy + value

    @property
    def inference_parameters(self) -> int:
        """Of the inference form: attention folded into one product, the first in the embedding."""
        d, f, hidden = self.dim, self.wide, self.dim + self.dim // 2
        attention = (self.layers - 1) * (d * d + d)
        layers = self.layers * (2 * d * f + f + d + 4 * d)
        return (STATE_DIM + 1) * d + attention + layers + (d + 1) * hidden + (hidden + 1) * ANSWERS

    def row_bytes(self, dtype: str) -> int:
        """Most bytes alive at once for a row of a batch: before a layer's second norm.

        Its input, the wide layer, its product, and the sum with the input; the states and answers
        in float32 lie beside, and the states in `dtype` too where that is another.
        """
        size = BYTES[dtype]
        converted = STATE_DIM * size if dtype != "float32" else 0
        return 4 * (STATE_DIM + ANSWERS) + converted + size * (3 * self.dim + self.wide)

    @property
    def training_row_bytes(self) -> int:
        """What a row's backward pass keeps.

        In float32: the inputs of linear layers, norms (with mean and deviation) and ReLUs, and
        both losses' logits and targets; the legal moves, twice, and the seats as bytes.
        """
        layers = self.layers * (5 * self.dim + self.wide + 4)
        floats = STATE_DIM + layers + self.dim + self.dim + self.dim // 2 + 2 * ANSWERS
        return 4 * floats + 2 * ACTIONS + SEATS


class Search(NamedTuple):
    """What is played, and how it is searched; the names are the options'."""

    players: int
    cards: int
    determinizations: int
    simulations: int

    @property
    def lane_bytes(self) -> int:
        """Bytes on the host for a game in progress: its examples so far and its trees."""
        decisions, moves = self.players * (self.cards + 1), self.cards + 1
        kept = decisions * (4 * STATE_DIM + ACTIONS + 4 * ACTIONS + 1)
        tree = TREE + (self.simulations + 1) * (NODE + GAME + moves * EDGE)
        return LANE + GAME + 8 + 4 * moves + kept + self.determinizations * tree


def batch_rows(lanes: float, determinizations: int) -> int:
    """Rows of a batch that so many lanes keep full, as the engine cuts it."""
    return max(determinizations, int(lanes * determinizations * FULL_SHARE) // PAD * PAD)


class Card(NamedTuple):
    """What computes on one card."""

    workers: int
    batches: int
    """One for each group of lanes, all workers together."""
    rows: int
    """Of a batch."""
    dtype: str
    context: Metric
    """MiB a process."""
    workspace: Metric
    """MiB a batch."""


class Pool(NamedTuple):
    """What the built-in engine played with; of another project's engine none of it is known."""

    workers: int
    threads: int
    lanes: int
    dtype: str


def pool_of(throughput: Throughput) -> Pool | None:
    """What a throughput was played with; None where one of it is not known."""
    one = throughput
    if one.workers is None or one.threads is None or one.lanes is None or one.dtype is None:
        return None
    return Pool(one.workers, one.threads, one.lanes, one.dtype)


def card_of(report: Report, throughput: Throughput, pool: Pool, determinizations: int) -> Card:
    """The card of a run's workers; of a run on the CPU: as if one card had them all."""
    used = len(gpus(report, arm_of(report, throughput))) if _on_cuda(throughput) else 1
    workers = ceil(pool.workers / max(1, used))
    groups = pool.threads * GROUPS_ON_CUDA
    return Card(
        workers=workers,
        batches=workers * groups,
        rows=batch_rows(pool.lanes / pool.workers / groups, determinizations),
        dtype=pool.dtype,
        context=_context(report, throughput),
        workspace=_workspace(report),
    )


def memory_of(report: Report, throughput: Throughput, card_gb: float | None = None) -> Memory | str:
    """The memory model of a device's self-play, or in a line why there is none.

    `card_gb`, in 10^9 bytes, asks for the largest batch and lanes that fit a card.
    """
    shape, search, pool = shape_of(report), search_of(report), pool_of(throughput)
    if shape is None or search is None or pool is None:
        return "the report does not say its network and search"
    card, row = (
        card_of(report, throughput, pool, search.determinizations),
        shape.row_bytes(pool.dtype),
    )
    activations = _term(
        "activations",
        card.batches * card.rows * row / MIB,
        f"{card.batches} batches × {card.rows:,} rows × {row:,} B",
    )
    fixed = _worker_terms(card, shape)
    fixed += _beyond(report, throughput, card, [*fixed, activations])
    fixed += _trainer(report, shape, card.context)
    fixed_mib = sum(term.mib for term in fixed)
    return Memory(
        terms=[*fixed, activations],
        total_mib=fixed_mib + activations.mib,
        rows_per_batch=card.rows,
        assumptions=_assumptions(throughput, card),
        host=_term(
            "lanes, on the host",
            pool.lanes * search.lane_bytes / MIB,
            f"{pool.lanes:,} lanes × {search.lane_bytes:,} B",
        ),
        host_lanes=int(report.machine.memory_gib * 2**30 / search.lane_bytes),
        fit=None
        if card_gb is None
        else _fit(card_gb, fixed_mib, card, row, search.determinizations),
    )


def shape_of(report: Report) -> Shape | None:
    """The network's, from the configuration; None where it is not there."""
    text = report.configuration.get("network")
    parts = text.split("-") if isinstance(text, str) else []
    if len(parts) != 4 or not all(part.isdecimal() and int(part) for part in parts):
        return None
    return Shape(*map(int, parts))


def search_of(report: Report) -> Search | None:
    """What was played, from the configuration; None where it is not there."""
    values = [report.configuration.get(name) for name in Search._fields]
    known = [value for value in values if isinstance(value, int) and value > 0]
    return Search(*known) if len(known) == len(values) else None


def _term(name: str, mib: float, formula: str) -> MemoryTerm:
    return MemoryTerm(name=name, mib=mib, formula=formula)


def _on_cuda(throughput: Throughput) -> bool:
    return kind(throughput.device) == "cuda"


def _worker_terms(card: Card, shape: Shape) -> list[MemoryTerm]:
    """All that workers hold whatever the batch; the context is the first."""
    n, size = card.workers, BYTES[card.dtype]
    context, workspace = card.context.value or 0.0, card.workspace.value or 0.0
    return [
        _term("CUDA context", n * context, f"{n} workers × {context:,.0f} MiB"),
        _term(
            "weights, plain form",
            n * 4 * shape.parameters / MIB,
            f"{n} workers × {shape.parameters:,} parameters × 4 B",
        ),
        _term(
            "weights, inference form",
            n * size * shape.inference_parameters / MIB,
            f"{n} workers × {shape.inference_parameters:,} × {size} B ({card.dtype})",
        ),
        _term(
            "folding",
            n * 8 * (shape.layers + 4) * shape.dim**2 / MIB,
            f"{n} workers × ({shape.layers} layers + 4) × {shape.dim}² × 8 B (float64)",
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
    """What torch really reserved less what is modelled of it; nothing where it did not say."""
    told = [w.gpu_memory_mib for w in arm_of(report, throughput) if w.gpu_memory_mib is not None]
    if not told:
        return []
    by_torch = sum(term.mib for term in modelled[1:])
    formula = f"{card.workers} workers × {max(told):,.0f} MiB that torch reserved, less its terms"
    return [_term("beyond the model", card.workers * max(told) - by_torch, formula)]


def _assumptions(throughput: Throughput, card: Card) -> list[str]:
    said = [known.reason for known in (card.context, card.workspace) if known.reason]
    as_if = "measured on the CPU: as if its workers computed on one card"
    return said if _on_cuda(throughput) else [as_if, *said]


def _workspace(report: Report) -> Metric:
    """Of one stream's cuBLAS, MiB."""
    major = [float(gpu.compute_capability) // 1 for gpu in report.gpus if gpu.compute_capability]
    mib = CUBLAS_MIB if major and max(major) < HOPPER else CUBLAS_MIB_HOPPER
    reason = None if major else f"cuBLAS workspaces of {mib:g} MiB, as from Hopper on, are assumed"
    return Metric(name="cuBLAS workspace", value=mib, unit="MiB", reason=reason)


def _context(report: Report, throughput: Throughput) -> Metric:
    """What a worker's process holds beside torch's allocations, MiB; assumed unless it was seen."""
    seen = []
    for worker in arm_of(report, throughput):
        name = f"gpu/{worker.device_uuid}/process/{worker.pid}/memory"
        listed = [mib for _, mib in samples(report, name, windows(report, throughput.device))]
        if listed and worker.gpu_memory_mib is not None:
            seen.append(max(listed) - worker.gpu_memory_mib)
    if seen and min(seen) >= 0:
        return Metric(name="CUDA context", value=max(seen), unit="MiB", samples=len(seen))
    return Metric(
        name="CUDA context",
        value=float(MOST_CONTEXT_MIB),
        unit="MiB",
        reason=f"the CUDA context's size is not known: the most there is, {MOST_CONTEXT_MIB:,} MiB "
        "a process, is assumed",
    )


def _trainer(report: Report, shape: Shape, context: Metric) -> list[MemoryTerm]:
    """The training process's terms; none where the run did not train."""
    figures = {metric.name: metric.value for metric in report.metrics}
    made, steps = figures.get(EXAMPLES_MADE), figures.get("training steps")
    times = figures.get("each example trained on")
    if not (made and steps and times):
        return []
    batch, row = round(made * times / steps), shape.training_row_bytes
    return [
        _term("trainer: CUDA context", context.value or 0.0, f"1 × {context.value:,.0f} MiB"),
        _term(
            "trainer: weights",
            16 * shape.parameters / MIB,
            f"{shape.parameters:,} × (weight, gradient, AdamW's 2 moments) × 4 B",
        ),
        _term("trainer: activations", batch * row / MIB, f"{batch:,} rows × {row:,} B"),
    ]


def _fit(card_gb: float, fixed_mib: float, card: Card, row: int, determinizations: int) -> Fit:
    """The largest batch, in whole PADs, with which all batches fit beside what is fixed."""
    left = card_gb * GB - fixed_mib * MIB
    rows = int(left / card.batches / row) // PAD * PAD if left > 0 else 0
    if rows < max(PAD, determinizations):
        alone = fixed_mib * MIB / GB
        reason = f"what does not depend on the batch takes {alone:.2f} GB alone"
        return Fit(card_gb=card_gb, reason=reason)
    # The most lanes whose batch is no larger: `batch_rows` turned round.
    lanes = ceil((rows + PAD) / (determinizations * FULL_SHARE)) - 1
    return Fit(
        card_gb=card_gb,
        rows_per_batch=rows,
        lanes_per_worker=lanes * card.batches // card.workers,
    )
