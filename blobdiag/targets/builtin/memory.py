"""Memory sizes of the built-in engine, for the report."""

from __future__ import annotations

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.memory_figures import MemoryFigures
from blobdiag.model.settings import Settings
from engine.memory import memory_figures
from engine.network.blobnet import NetworkConfig
from engine.search.lanes import SearchConfig


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
