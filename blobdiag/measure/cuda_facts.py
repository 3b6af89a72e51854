"""Collect the facts that `blobdiag doctor` judges."""

from __future__ import annotations

from blobdiag.model.cuda_facts import CudaFacts
from blobdiag.sampling.cuda_probe import collect
from blobdiag.targets.builtin.kernel_cache import kernel_cache_is_writable


def collect_cuda_facts() -> CudaFacts:
    """Facts about driver, torch, environment, container and the engine's kernel cache."""
    return collect(kernel_cache_is_writable())
