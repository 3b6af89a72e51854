"""What `blobdiag doctor` judges: all that decides whether CUDA is seen here."""

from __future__ import annotations

from blobdiag.model.cuda_facts import CudaFacts
from blobdiag.sampling.cuda_probe import collect
from blobdiag.targets.builtin.kernel_cache import kernel_cache_is_writable


def collect_cuda_facts() -> CudaFacts:
    """Looks at driver, torch, environment and container, and at the engine's kernel cache."""
    return collect(kernel_cache_is_writable())
