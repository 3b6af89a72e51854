"""Settings all tests share."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

# Kernels compile on their first call, and machines are noisy: time is for the benchmarks.
settings.register_profile("blobdiag", deadline=None, print_blob=True)
settings.load_profile("blobdiag")

# As search threads do it: on small networks two OpenMP threads only wait for each other.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, and say why."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA GPU: torch.cuda.is_available() is False here")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)
