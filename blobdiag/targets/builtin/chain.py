"""The chain of rates from peak FLOP/s to games per minute, and search threads' time by stage."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import NamedTuple

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.device import Device
from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.arm import BuiltInArm
from blobdiag.targets.builtin.records import search_health
from engine.game.encoding import StateEncoder
from engine.network.blobnet import BlobNet, InferenceNet
from engine.network.precision import probe_games
from engine.search.compilation import compile_kernels
from engine.selfplay.telemetry import subtract_tallies

ROUNDS = 6
"""Rounds in which self-play and the bare network alternate, so that drift affects both alike."""
BARE_ROWS = (64, 128, 192, 256, 384, 512, 1024)
CUDA_BARE_ROWS = (1024, 2048, 4096, 8192, 16384, 32768)
MULTIPLY_SIZE = {"cpu": 512, "cuda": 8192}
SHORT_SECONDS = 0.5
TREES_SECONDS = 2.0


class Chain(NamedTuple):
    """The rate of each link of the chain, all workers together."""

    peak: float
    """Floating-point operations per second of square matrix products."""
    operations: int
    """Floating-point operations of one evaluation in the network's linear layers."""
    bare: list[float]
    """Evaluations per second of the bare network at its best batch size, by round."""
    bare_rows: int
    """The bare network's best batch size."""
    trees: float
    """Evaluations per second of the search alone, with a network that costs nothing."""
    on_cuda: bool
    played: list[float]
    """Evaluations per second of self-play, by round."""
    useful: float
    """Distinct evaluations ÷ rows computed, padding included."""
    evaluations_per_game: float
    evaluations_per_decision: float

    @property
    def games_per_minute(self) -> float:
        return 60 * median(self.played) / self.evaluations_per_game


def prepared_arm(settings: Settings, network: BlobNet, device: str) -> BuiltInArm:
    """Self-play on a device with compiled kernels; the workers are not started."""
    compile_kernels()
    return BuiltInArm(settings, network, device)


def measure(
    arm: BuiltInArm, network: BlobNet, seconds: float
) -> tuple[Chain, dict[str, float], int]:
    """(chain, seconds by stage over all rounds, evaluations in all rounds).

    Measures for about `seconds`. Raises RuntimeError if no game finished.
    """
    on_cuda = Device.of(arm.device).on_cuda
    peak = arm.engine.measure_multiply(MULTIPLY_SIZE["cuda" if on_cuda else "cpu"], 1.0)
    rows_tried = CUDA_BARE_ROWS if on_cuda else BARE_ROWS
    rates = {rows: arm.engine.measure_network(SHORT_SECONDS, rows) for rows in rows_tried}
    best_rows = max(rates, key=lambda rows: rates[rows])
    each = seconds / (2 * ROUNDS)
    trees = arm.engine.measure_trees(TREES_SECONDS)
    before, stages = arm.engine.tally, stage_seconds(arm)
    bare = []
    for _ in range(ROUNDS):
        arm.measure(each, 0, lambda progress: None)
        bare.append(arm.engine.measure_network(each, best_rows))
    played = []
    for start, end in arm.windows:
        blocks = arm.blocks_of(start, end)
        played.append(sum(b.evaluations or 0 for b in blocks) / sum(b.seconds for b in blocks))
    done = subtract_tallies(arm.engine.tally, before)
    health = search_health(done, arm.trained)
    if health.evaluations_per_game is None or health.evaluations_per_decision is None:
        raise RuntimeError(f"cannot explain: {health.reason}; raise --seconds")
    chain = Chain(
        peak=peak,
        operations=operations(network),
        bare=bare,
        bare_rows=best_rows,
        trees=trees,
        on_cuda=on_cuda,
        played=played,
        useful=int(done["distinct"]) / max(1, int(done["computed"])),
        evaluations_per_game=health.evaluations_per_game,
        evaluations_per_decision=health.evaluations_per_decision,
    )
    after = stage_seconds(arm)
    return chain, {k: after[k] - stages.get(k, 0.0) for k in after}, int(done["evaluations"])


def stage_seconds(arm: BuiltInArm) -> dict[str, float]:
    """Seconds by stage of all search threads together."""
    total: dict[str, float] = {}
    for status in arm.engine.pool.statuses:
        for stage, seconds in status.stage_seconds.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total


def operations(network: BlobNet) -> int:
    """Floating-point operations of one evaluation in the linear layers of the inference form."""
    matrices = (p for p in InferenceNet(network).parameters() if p.dim() == 2)
    return 2 * sum(p.numel() for p in matrices)


def encoding_seconds(settings: Settings) -> float:
    """Seconds to encode one position, measured alone on one core."""
    games, encoder = probe_games(4096, settings.players, settings.cards), StateEncoder()
    encoder.encode(games)
    times = []
    for _ in range(7):
        start = perf_counter()
        encoder.encode(games)
        times.append(perf_counter() - start)
    return median(times) / len(games)
