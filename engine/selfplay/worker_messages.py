"""The wire format of a worker process: the orders it is sent, and the messages it answers with.

Each is pickled over the worker's pipe (`multiprocessing.connection.Connection`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.network.blobnet import Weights
from engine.search.examples import Examples
from engine.selfplay.stacks import Place

if TYPE_CHECKING:
    from engine.selfplay.worker import PlayOrder

# -- orders ---------------------------------------------------------------------------------------


class Play(NamedTuple):
    """Play: a new order with empty lanes; None: go on with the lanes as they are."""

    order: PlayOrder | None


class Grant(NamedTuple):
    """Games to play, after those granted before."""

    games: tuple[int, ...]


class Pause(NamedTuple):
    """Stop after the current step; answered by Paused once all counters are sent."""


class Measure(NamedTuple):
    """Measure the bare network, the search alone, or matrix products; only while paused.

    Answered by Measured.
    """

    what: Literal["network", "trees", "multiply"]
    size: int
    """Rows of a batch, lanes of a thread, or rows of a square matrix."""
    seconds: float


class UpdateWeights(NamedTuple):
    """Load these weights in place; answered by a new Handshake."""

    weights: Weights
    version: int
    """How often the engine has replaced its weights."""


class Stop(NamedTuple):
    """End the process."""


# -- messages -------------------------------------------------------------------------------------


class Handshake(NamedTuple):
    """Sent by a worker before any game: the device, dtype and weights its network has."""

    worker: int
    pid: int
    device_asked: str
    parameter_devices: tuple[str, ...]
    """Every device with a parameter on it, index included, sorted."""
    output_device: str
    """Device of the answers to a dummy batch."""
    device_uuid: str | None
    """UUID of its GPU; None on the CPU."""
    dtype: str
    threads: int
    """Search threads."""
    intra_op_threads: int
    """torch.get_num_threads() in the worker."""
    weights_hash: str
    """Hash of the weights read back from the network; on `meta`, of the weights received."""
    weights_version: int = 0
    """How often the engine had replaced its weights before it sent these."""

    @property
    def on_its_device(self) -> bool:
        """Whether all parameters and the output are on the device asked for."""
        return self.parameter_devices == (self.device_asked,) == (self.output_device,)


@dataclass
class CallModes:
    """Modes of a network call in self-play: whether any module in it had either of them."""

    grad_enabled: bool = False
    train_mode: bool = False
    seen: bool = False
    """Whether there was a call."""

    def note(self, module: nn.Module, arguments: object) -> None:
        """A forward pre-hook, called for the network and each of its modules."""
        self.seen = True
        self.grad_enabled |= torch.is_grad_enabled()
        self.train_mode |= module.training


class ThreadProgress(NamedTuple):
    """A search thread's counters since its lanes were made, and news since its last message."""

    worker: int
    pid: int
    thread: int
    time: float
    """time.monotonic() at which the counters were read, seconds."""
    tally: NDArray[np.void]
    """[] of dtype TALLY, summed over the thread's groups of lanes."""
    stage_seconds: dict[str, float]
    """Seconds of the thread by stage: select (games, trees and encoding up to the leaves), expand
    (priors, expansion, backup), copy and network (on CUDA: their launches), wait (for the device),
    idle (no game to play) and python (everything else)."""
    finished: tuple[tuple[int, int], ...]
    """(game, its evaluations) of the games finished since the last message."""
    examples: Examples | None
    batches: Mapping[int, int] = {}
    """Number of batches by rows, rounded up to a power of two; since the lanes were made."""
    deals: tuple[str, ...] = ()
    """`deal_hash` of those of the thread's first FIRST_DEALS deals that are new."""
    modes: CallModes | None = None
    """Modes of the first network call since the lanes were made; None: there was none."""
    holds: Mapping[Place, float] = {}
    """Seconds, by place, that the device waited for the worker's threads; since it started."""
    watch_cpu_seconds: float = 0.0
    """CPU time the worker spent on sampling these places."""
    gpu_memory_mib: float | None = None
    """Peak memory that torch reserved on the worker's GPU; None on the CPU."""


class WorkerError(NamedTuple):
    """An error that ended a worker, with its traceback."""

    worker: int
    pid: int
    error: str


class Paused(NamedTuple):
    """A worker's search threads stand still, and all their counters were sent."""

    pid: int


class Measured(NamedTuple):
    """Evaluations, or floating-point operations, per second in one worker."""

    pid: int
    rate: float
