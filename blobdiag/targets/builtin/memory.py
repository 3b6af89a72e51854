"""The engine's own sizes: for the plan that is made from a report, and before anything is made."""

from __future__ import annotations

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.errors import UserError
from blobdiag.model.evaluation_settings import EvaluationSettings
from blobdiag.model.memory_figures import MemoryFigures
from blobdiag.model.settings import Settings
from blobdiag.sampling.cgroup import usable_memory
from engine.memory import memory_figures
from engine.network.blobnet import NetworkConfig
from engine.search.lanes import SearchConfig
from engine.selfplay.worker_layout import CPU_LANES

GB = 1e9
PROCESS_BYTES = 100e6
"""Of a worker, at least, beside its weights and games."""


def memory_of_engine(settings: Settings) -> MemoryFigures:
    """The sizes of the network and search of `settings`.

    Raises ValueError if `settings.network` is not a network's shape.
    """
    search = SearchConfig(
        players=settings.players,
        cards=settings.cards,
        determinizations=settings.determinizations,
        simulations=settings.simulations,
    )
    figures = memory_figures(NetworkConfig.parse(settings.network), search)
    return MemoryFigures(**figures._asdict())


def check_memory(settings: Settings, available: float | None = None) -> None:
    """Raise UserError where the host's memory cannot hold what `settings` ask for.

    Counted is what is needed in any case, with the fewest workers and threads where none are asked
    for: the network's weights, here and in each worker, and the games in progress.
    `available` bytes; None: what this machine has.
    """
    figures = memory_of_engine(settings)
    workers, threads = settings.workers or 1, settings.threads or 1
    lanes = settings.lanes or threads * CPU_LANES
    if isinstance(settings, EvaluationSettings):
        lanes = threads * (settings.lanes or 1)
    # A process that has imported torch holds as much alone, whatever it shares with others.
    processes = workers * PROCESS_BYTES
    weights = 4 * figures.parameters + workers * 4 * figures.inference_parameters
    check_fits(
        processes + weights + workers * lanes * figures.lane_bytes,
        f"workers: {workers:,}, each with {lanes:,} games in progress and network "
        f"{settings.network},",
        "choose smaller --lanes, --workers, --threads, --determinizations, --simulations or "
        "--network",
        available,
    )


def check_fits(needed: float, what: str, remedy: str, available: float | None = None) -> None:
    """Raise UserError where `needed` bytes are more than there are."""
    available = usable_memory() if available is None else available
    if needed > available:
        raise UserError(
            f"{what} need {needed / GB:,.1f} GB of memory, and this machine has "
            f"{available / GB:,.1f} GB: {remedy}"
        )
