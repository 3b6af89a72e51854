"""Whether the engine's compiled kernels can be cached between runs."""

from __future__ import annotations


def kernel_cache_is_writable() -> bool | None:
    """Whether a cache folder is writable; None: the engine cannot be imported."""
    try:
        from engine.game.jit import cache_folder
    except ImportError:
        return None
    return cache_folder() is not None
