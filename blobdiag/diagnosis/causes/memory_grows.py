"""A worker whose memory rises with the games it plays, and does not stop rising."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from statistics import median

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.facts import arm_of, samples, windows
from blobdiag.model import names
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput, WorkerRecord

# Allocators' caches grow in the first seconds; in the later three quarters of a healthy run a
# worker's memory moved by up to 1 MiB (reports/reference).
SETTLING_SHARE = 0.25
MIN_GROWTH_MIB = 4.0
MIN_RSS_SAMPLES = 12
# Enough points for the slope; more only cost time, by their square.
MOST_POINTS = 120


def _in_engine(report: Report) -> Seen | None:
    growing = [
        (worker, throughput, slope, seconds)
        for throughput in report.throughput
        for worker in arm_of(report, throughput)
        for slope, seconds in [_growth(report, throughput, worker)]
        if slope * seconds >= MIN_GROWTH_MIB
    ]
    if not growing:
        return None
    per_minute = sum(60 * slope for _, _, slope, _ in growing)
    left = report.machine.memory_gib * 1024 / per_minute
    return Seen(
        title=f"Workers' memory grows by {per_minute:,.0f} MiB a minute",
        cause="An object made for each game (a tree, examples, a cache) is not freed afterwards.",
        evidence=[
            *(_line(*one) for one in growing),
            f"at this pace the machine's memory is full after {left:,.0f} min",
        ],
        remedy=(
            "Find what holds it (tracemalloc, or memray attach PID), free each game's tree, and "
            "send examples away as games end"
        ),
        gain=gains.unknown("it costs nothing until memory is full, and then the run"),
    )


def _line(worker: WorkerRecord, throughput: Throughput, slope: float, seconds: float) -> str:
    line = (
        f"worker {worker.worker} (pid {worker.pid}): at least {slope * seconds:.1f} MiB more "
        f"in {seconds:.0f} s, {60 * slope:.1f} MiB/min"
    )
    games = (throughput.games_per_minute.value or 0.0) / max(1, throughput.workers or 0)
    if games and throughput.workers:
        line += f", {1024 * 60 * slope / games:.1f} KiB a game"
    return line


def _growth(report: Report, throughput: Throughput, worker: WorkerRecord) -> tuple[float, float]:
    """(MiB/s that a worker's memory grows at least, seconds it was sampled), once settled."""
    name = names.process(worker.pid, "rss")
    points = samples(report, name, windows(report, throughput.device))
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


CAUSE = Cause(
    name="memory-grows",
    rank=150,
    summary="A worker's memory rises with the games it plays, and does not stop rising",
    seen_as=(
        f"{MIN_GROWTH_MIB:g} MiB or more in the later three quarters of self-play, by the lower "
        "97.5 % bound of the slope"
    ),
    in_engine=_in_engine,
)
