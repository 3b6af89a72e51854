"""A sweep of self-play over workers, threads, lanes and dtype."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import torch

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model import names
from blobdiag.model.device import Device
from blobdiag.model.settings import Settings
from blobdiag.sampling.machine import usable_cores
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.trace import Trace
from blobdiag.targets.builtin.arm import BuiltInArm
from engine.network.blobnet import BlobNet
from engine.network.precision import choose_dtype
from engine.search.compilation import compile_kernels
from engine.selfplay.worker_layout import CPU_LANES, CUDA_LANES

NEAR_BEST = 0.97
"""The fewest lanes that reach this share of the best rate are recommended."""
FINALISTS, FINAL_ROUNDS = 3, 3
FINAL_SHARE = 0.4
"""Share of the time for measuring the finalists again, in turn."""
SHORTEST_SECONDS = 0.5
SETTLE_SECONDS = 0.4
CALIBRATION_LANES = 16
"""Lanes for measuring the evaluations per game, which do not depend on the number of lanes."""


class Candidate(NamedTuple):
    """One setting to measure."""

    workers: int
    threads: int
    lanes: int
    """Lanes per search thread."""
    dtype: str

    @property
    def layout(self) -> tuple[int, int, str]:
        return self.workers, self.threads, self.dtype

    def __str__(self) -> str:
        return (
            f"{self.workers} workers × {self.threads} threads, {self.lanes} lanes a thread, "
            f"{self.dtype}"
        )


class SweepRow(NamedTuple):
    """Result of one measurement of a candidate."""

    evaluations_per_second: float
    batches_per_second: float
    mean_batch: float
    gpu: float | None
    """Mean utilisation of all GPUs, %; None: not sampled."""


class Sweep:
    """Measures candidates one after another; candidates of one layout share a started arm."""

    def __init__(self, settings: Settings, network: BlobNet, device: str, stack: ExitStack) -> None:
        self.settings, self.network, self.device, self.stack = settings, network, device, stack
        self.arms: dict[tuple[int, int, str], BuiltInArm] = {}
        self.rows: dict[Candidate, list[SweepRow]] = {}
        self.evaluations_per_game = math.nan
        """NaN before `calibrate`."""
        self.trace = Trace()
        self.recorder = stack.enter_context(Recorder(self.trace))

    def arm(self, candidate: Candidate) -> BuiltInArm:
        """The started arm of the candidate's layout, with its lanes."""
        arm = self.arms.get(candidate.layout)
        if arm is None:
            chosen = replace(
                self.settings,
                workers=candidate.workers,
                threads=candidate.threads,
                dtype=candidate.dtype,
            )
            arm = BuiltInArm(chosen, self.network, self.device)
            self.stack.callback(arm.engine.close)
            arm.engine.start()
            self.arms[candidate.layout] = arm
        arm.engine.lanes_each = candidate.lanes * candidate.threads
        return arm

    def drop(self, keep: set[tuple[int, int, str]]) -> None:
        """End the workers of all layouts that are not in `keep`."""
        for layout in self.arms.keys() - keep:
            self.arms.pop(layout).engine.close()

    def calibrate(self, candidate: Candidate) -> None:
        """Play whole games to measure the evaluations per game."""
        arm = self.arm(candidate._replace(lanes=CALIBRATION_LANES))
        settings = self.settings
        games = 2 * arm.engine.lanes
        tally = arm.engine.generate_games(games, settings.players, settings.cards).tally
        self.evaluations_per_game = int(tally["game_evaluations"]) / int(tally["games"])

    def measure(self, candidate: Candidate, seconds: float) -> SweepRow:
        """Measure the candidate for `seconds` after settling, and add a row."""
        arm = self.arm(candidate)
        arm.measure(SETTLE_SECONDS, 0, lambda progress: None)
        before = arm.engine.tally
        arm.measure(seconds, 0, lambda progress: None)
        start, end = arm.windows[-1]
        blocks = arm.blocks_of(start, end)
        evaluations = sum(b.evaluations or 0 for b in blocks) / sum(b.seconds for b in blocks)
        tally = arm.engine.tally
        batches = int(tally["batches"]) - int(before["batches"])
        mean_batch = (int(tally["evaluations"]) - int(before["evaluations"])) / max(1, batches)
        row = SweepRow(evaluations, evaluations / mean_batch, mean_batch, self._gpu(start, end))
        self.rows.setdefault(candidate, []).append(row)
        return row

    def _gpu(self, start: float, end: float) -> float | None:
        values = [
            value
            for gpu in self.recorder.gpus
            for value in self.trace.between(names.utilization(gpu.uuid), start, end)
        ]
        return sum(values) / len(values) if values else None

    def rate(self, candidate: Candidate) -> float:
        """Median evaluations per second of all its rows."""
        return median(row.evaluations_per_second for row in self.rows[candidate])

    def games_per_minute(self, evaluations_per_second: float) -> float:
        return 60 * evaluations_per_second / self.evaluations_per_game

    def best_first(self) -> list[Candidate]:
        return sorted(self.rows, key=self.rate, reverse=True)


OnRow = Callable[["Sweep", Candidate, SweepRow], None]
"""Called after each measurement."""


def run(sweep: Sweep, seconds: float, on_row: OnRow) -> None:
    """Measure all layouts, then the best layout with other lanes, then the finalists in turn."""
    compile_kernels()
    layouts, lanes = list(candidates(sweep)), lane_grid(sweep)
    spare = seconds * (1 - FINAL_SHARE)
    each = max(SHORTEST_SECONDS, spare / (len(layouts) + len(lanes)) - SETTLE_SECONDS)
    sweep.calibrate(layouts[0])
    for candidate in layouts:
        on_row(sweep, candidate, sweep.measure(candidate, each))
    best = sweep.best_first()[0]
    sweep.drop({best.layout})
    for count in lanes:
        candidate = best._replace(lanes=count)
        if candidate not in sweep.rows:
            on_row(sweep, candidate, sweep.measure(candidate, each))
    finalists = [c for c in sweep.best_first() if c.layout == best.layout][:FINALISTS]
    final = max(SHORTEST_SECONDS, seconds * FINAL_SHARE / (len(finalists) * FINAL_ROUNDS))
    for _ in range(FINAL_ROUNDS):
        for candidate in finalists:
            on_row(sweep, candidate, sweep.measure(candidate, final))


def candidates(sweep: Sweep) -> Iterator[Candidate]:
    """The layouts and dtypes to try, with the default lanes; fixed settings are not varied."""
    settings, cores = sweep.settings, usable_cores()
    on_cuda = Device.of(sweep.device).on_cuda
    gpus = torch.cuda.device_count() if Device.of(sweep.device) == Device("cuda") else 1
    shapes = [(cores, 1), (1, cores)]
    if on_cuda:
        shapes = [(gpus, t) for t in (1, 2, 4, 8, 16) if gpus * t <= max(cores, gpus)]
        shapes += [(2 * gpus, max(1, cores // (2 * gpus)))]
    dtypes = [settings.dtype]
    if settings.dtype == "auto":
        fastest = choose_dtype(sweep.network, sweep.device)
        dtypes = ["float32"] if fastest == "float32" else ["bfloat16", "float32"]
    usual = CUDA_LANES if on_cuda else CPU_LANES
    seen = set()
    for workers, threads in shapes:
        for dtype in dtypes:
            threads = settings.threads or threads
            lanes = max(1, settings.lanes // threads) if settings.lanes else usual
            candidate = Candidate(settings.workers or workers, threads, lanes, dtype)
            if candidate not in seen:
                seen.add(candidate)
                yield candidate


def lane_grid(sweep: Sweep) -> list[int]:
    """Lanes per thread to try, a geometric grid; empty if the settings fix the lanes."""
    if sweep.settings.lanes:
        return []
    usual = CUDA_LANES if Device.of(sweep.device).on_cuda else CPU_LANES
    return [usual // 4, usual // 2, usual, usual * 2, usual * 4]


def recommended(sweep: Sweep) -> Candidate:
    """The finalist with the fewest lanes whose rate is at least NEAR_BEST of the best."""
    finalists = [c for c in sweep.best_first() if len(sweep.rows[c]) > 1]
    near = [c for c in finalists if sweep.rate(c) >= NEAR_BEST * sweep.rate(finalists[0])]
    return min(near, key=lambda c: (c.workers * c.threads * c.lanes, -sweep.rate(c)))
