"""The engine's sizes as a report carries them."""

from __future__ import annotations

from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.memory import memory_of_engine
from engine.memory import memory_figures
from engine.network.blobnet import NetworkConfig
from engine.search.lanes import SearchConfig


def test_the_sizes_are_those_of_the_run_s_network_and_search() -> None:
    settings = Settings(network="32-2-4-64", players=6, cards=3, determinizations=5, simulations=20)
    search = SearchConfig(players=6, cards=3, determinizations=5, simulations=20)
    expected = memory_figures(NetworkConfig(32, 2, 4, 64), search)
    assert memory_of_engine(settings).model_dump() == expected._asdict()
