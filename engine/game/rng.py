"""Random numbers that depend on (seed, game, decision) alone, not on the worker that draws them.

SplitMix64 (Steele, Lea, Flood 2014). Each entry of a uint64 array is the state of a stream.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.game.jit import Integer, kernel

States = NDArray[np.uint64]

GAMMA = np.uint64(0x9E3779B97F4A7C15)


@kernel
def mix(x: Any) -> Any:
    """SplitMix64's finaliser: a bijection of uint64 that scatters every bit."""
    x = np.uint64(x)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def seed_stream(states: States, i: int, seed: int, game: int, decision: int) -> None:
    """Set stream `i` to the start of the stream of (seed, game, decision)."""
    x = mix(np.uint64(seed) + GAMMA)
    x = mix(x ^ (np.uint64(game) + GAMMA))
    states[i] = mix(x ^ (np.uint64(decision) + GAMMA))


@kernel
def next_uint64(states: States, i: int) -> Any:
    """The next 64 random bits of stream `i`."""
    states[i] += GAMMA
    return mix(states[i])


@kernel
def uniform(states: States, i: int) -> float:
    """A double in [0, 1), 53 random bits."""
    return np.float64(next_uint64(states, i) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def below(states: States, i: int, n: Integer) -> Integer:
    """An integer in [0, n), n < 2**31; its bias, n / 2**53, is negligible."""
    return np.int64(uniform(states, i) * n)


@kernel
def normal(states: States, i: int) -> float:
    """A standard normal number (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(states, i)))
    return radius * math.cos(2.0 * math.pi * uniform(states, i))


@kernel
def gamma(states: States, i: int, shape: float) -> float:
    """A Gamma(shape, 1) number (Marsaglia and Tsang 2000; shape < 1 by their boost)."""
    boost = 1.0
    if shape < 1.0:
        boost = (1.0 - uniform(states, i)) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal(states, i)
        v = (1.0 + c * x) ** 3
        if v > 0.0:
            u = 1.0 - uniform(states, i)
            if math.log(u) < 0.5 * x * x + d - d * v + d * math.log(v):
                return boost * d * v
