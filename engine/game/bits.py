"""Sets of cards as the bits of an int64: count, lowest, n-th."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic

from engine.game.jit import Integer, kernel


@intrinsic
def _count_bits(typing_context: Any, mask: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), code


@intrinsic
def _lowest_bit(typing_context: Any, mask: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        defined_at_zero = context.get_constant(types.boolean, False)
        return builder.cttz(arguments[0], defined_at_zero)

    return types.int64(types.int64), code


count_bits: Callable[[Integer], int] = cast(Any, _count_bits)
"""Number of set bits of an int64."""
lowest_bit: Callable[[Integer], int] = cast(Any, _lowest_bit)
"""Position of the lowest set bit of an int64; 64 for the empty set."""


@kernel
def nth_bit(mask: Integer, n: Integer) -> int:
    """Position of the n-th (from 0, lowest first) set bit of `mask`."""
    for _ in range(n):
        mask &= mask - np.int64(1)
    return lowest_bit(mask)
