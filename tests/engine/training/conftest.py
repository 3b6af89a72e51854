"""The engine that a file's training runs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lane_play import SMALL

from engine.network.blobnet import build_network
from engine.selfplay.engine import SelfPlayEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[SelfPlayEngine]:
    """One worker of one thread: its games repeat to the last bit."""
    network = build_network(SMALL, "cpu")
    with SelfPlayEngine(network, num_workers=1, lanes=8, seed=5) as engine:
        yield engine
