"""`blobdiag tune --explain`: where a second goes, and the chain from peak to games per minute."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from blobdiag.measure.interrupts import exit_code_of
from blobdiag.model.figures import figure
from blobdiag.model.settings import Settings
from blobdiag.store.tuned import with_tuned
from blobdiag.targets.builtin.arm import Arm, check_workload, load_network, search_health
from engine.game.encoding import StateEncoder
from engine.network.blobnet import BlobNet, InferenceNet
from engine.network.devices import resolve_auto
from engine.network.precision import probe_games
from engine.search.compilation import compile_kernels
from engine.selfplay.telemetry import subtract_tallies

ROUNDS = 6
"""Self-play and the bare network in turn: the machine's drift meets both."""
BARE_ROWS = (64, 128, 192, 256, 384, 512, 1024)
CUDA_BARE_ROWS = (1024, 2048, 4096, 8192, 16384, 32768)
MULTIPLY_SIZE = {"cpu": 512, "cuda": 8192}
SHORT_SECONDS = 0.5
TREES_SECONDS = 2.0


class Chain(NamedTuple):
    """Each link's rate, all workers together."""

    peak: float
    """Floating-point operations a second of square matrix products."""
    operations: int
    """Of one evaluation, in the network's linear layers."""
    bare: list[float]
    """Evaluations per second of the bare network at its best batch, a round each."""
    bare_rows: int
    trees: float
    """Evaluations per second of the search alone, its network free."""
    on_cuda: bool
    played: list[float]
    """Evaluations per second of self-play, a round each."""
    useful: float
    """Distinct evaluations ÷ rows computed, padding included."""
    evaluations_per_game: float
    evaluations_per_decision: float

    @property
    def games_per_minute(self) -> float:
        return 60 * median(self.played) / self.evaluations_per_game


def explain(settings: Settings, seconds: float) -> int:
    """Measure for about so many seconds and print both tables; the exit code."""
    check_workload(settings)
    device = resolve_auto(settings.device)
    settings = with_tuned(settings, device)
    network = load_network(settings)
    return exit_code_of(lambda: measure_and_print(settings, network, device, seconds))


def measure_and_print(settings: Settings, network: BlobNet, device: str, seconds: float) -> int:
    """All of it but what may end it early."""
    console = Console(highlight=False)
    with ExitStack() as stack:
        compile_kernels()
        arm = Arm(settings, network, device)
        stack.callback(arm.engine.close)
        arm.engine.start()
        console.print(f"explaining {arm.dtype} self-play on {device} …")
        arm.warm_up(lambda progress: None)
        chain, stages, evaluations = measure(arm, network, seconds)
    console.print(stage_table(stages, evaluations, encoding_seconds(settings)))
    console.print(chain_table(chain))
    return 0


def measure(arm: Arm, network: BlobNet, seconds: float) -> tuple[Chain, dict[str, float], int]:
    """The chain, the seconds by stage over all rounds, and the evaluations made in them."""
    kind = "cuda" if arm.device.startswith("cuda") else "cpu"
    peak = arm.engine.measure_multiply(MULTIPLY_SIZE[kind], 1.0)
    rows_tried = CUDA_BARE_ROWS if kind == "cuda" else BARE_ROWS
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
        raise RuntimeError(f"nothing to explain: {health.reason}; give it more --seconds")
    chain = Chain(
        peak=peak,
        operations=operations(network),
        bare=bare,
        bare_rows=best_rows,
        trees=trees,
        on_cuda=kind == "cuda",
        played=played,
        useful=int(done["distinct"]) / max(1, int(done["computed"])),
        evaluations_per_game=health.evaluations_per_game,
        evaluations_per_decision=health.evaluations_per_decision,
    )
    after = stage_seconds(arm)
    return chain, {k: after[k] - stages.get(k, 0.0) for k in after}, int(done["evaluations"])


def stage_seconds(arm: Arm) -> dict[str, float]:
    """Seconds by stage of all search threads together."""
    total: dict[str, float] = {}
    for status in arm.engine.pool.statuses:
        for stage, seconds in status.stage_seconds.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total


def operations(network: BlobNet) -> int:
    """Multiplications and additions of one evaluation in the inference form's linear layers."""
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


def stage_table(stages: dict[str, float], evaluations: int, encoding: float) -> Table:
    """Where a search thread's second goes."""
    total = sum(stages.values())
    encoded = encoding * evaluations
    shares = {
        "network": stages["network"],
        "select, decide, deal": stages["select"] - encoded,
        "encode (measured alone)": encoded,
        "softmax, expand, back up": stages["expand"],
        "copies, dtype": stages["copy"],
        "wait for the device": stages["wait"],
        "no game to play": stages["idle"],
        "python": stages["python"],
    }
    drawn = Table("stage", "share", "µs an evaluation", title="Where a second goes", box=None)
    drawn.columns[1].justify = drawn.columns[2].justify = "right"
    for name, seconds in sorted(shares.items(), key=lambda item: -item[1]):
        drawn.add_row(name, f"{100 * seconds / total:.1f} %", f"{1e6 * seconds / evaluations:.2f}")
    return drawn


def chain_table(chain: Chain) -> Table:
    """What each link keeps of the one before, and their product."""
    bare, played = median(chain.bare), median(chain.played)
    ratios = np.array(chain.played) / np.array(chain.bare)
    drawn = Table("link", "keeps", "", title="The chain of limits", box=None)
    drawn.columns[1].justify = "right"
    attained = bare * chain.operations
    drawn.add_row(
        "peak",
        "",
        f"{chain.peak / 1e9:,.0f} GFLOP/s in matrix products, "
        f"{chain.peak / chain.operations:,.0f} evals/s at {chain.operations / 1e6:.1f} MFLOP",
    )
    drawn.add_row(
        "bare network ÷ peak",
        f"{attained / chain.peak:.2f}",
        f"{bare:,.0f} evals/s in batches of {chain.bare_rows}, "
        f"{'eager or graphed' if chain.on_cuda else 'eager'}",
    )
    drawn.add_row("search alone", "", f"{chain.trees:,.0f} evals/s, its network free")
    drawn.add_row(
        "self-play ÷ bare",
        f"{median(ratios):.2f}",
        f"{played:,.0f} evals/s, ratio {ratios.min():.2f} to {ratios.max():.2f} in "
        f"{len(ratios)} rounds",
    )
    if chain.on_cuda:
        # On the CPU the same thread does both; here they run side by side, and one is the limit.
        limit = min(bare, chain.trees)
        drawn.add_row("self-play ÷ limit", f"{played / limit:.2f}", "the lower of those two")
    drawn.add_row("useful ÷ computed", f"{chain.useful:.2f}", "distinct, without padding")
    drawn.add_row(
        "evaluations a game",
        figure(chain.evaluations_per_game),
        f"{chain.evaluations_per_decision:.1f} a decision",
    )
    drawn.add_row("games/min", figure(chain.games_per_minute), "self-play, all workers")
    return drawn
