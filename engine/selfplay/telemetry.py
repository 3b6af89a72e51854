"""What workers say of themselves: at the handshake, while they run, and when they are gone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from engine.game.rules import Game
from engine.search.examples import Examples
from engine.search.lanes import FIRST_DEALS, TALLY
from engine.selfplay.stacks import Place


class Handshake(NamedTuple):
    """Sent by a worker before any game: where its network really is."""

    worker: int
    pid: int
    device_asked: str
    parameter_devices: tuple[str, ...]
    """Every device that holds a parameter, index resolved, sorted."""
    output_device: str
    """Where the outputs of a dummy batch came out."""
    device_uuid: str | None
    dtype: str
    threads: int
    """Search threads."""
    intra_op_threads: int
    """torch.get_num_threads() in the worker."""
    weights_hash: str
    """Of the weights read back from the network; on `meta`, of those received."""
    weights_version: int = 0
    """How often the engine had replaced its weights when it sent these."""

    @property
    def on_its_device(self) -> bool:
        return self.parameter_devices == (self.device_asked,) == (self.output_device,)


@dataclass
class CallModes:
    """How a network call of self-play was made: whether any module in it had either."""

    grad_enabled: bool = False
    train_mode: bool = False
    seen: bool = False
    """Whether there was a call at all."""

    def note(self, module: nn.Module, arguments: object) -> None:
        """A forward pre-hook, called inside the call for the network and each of its modules."""
        self.seen = True
        self.grad_enabled |= torch.is_grad_enabled()
        self.train_mode |= module.training


@contextmanager
def modes_of_calls() -> Iterator[CallModes]:
    """Look into the network calls that are made meanwhile; too slow for every one of them."""
    modes = CallModes()
    hook = register_module_forward_pre_hook(modes.note)
    try:
        yield modes
    finally:
        hook.remove()


def deal_hash(game: Game) -> str:
    """12 hex digits that name a deal: its hands, trump and dealer; `game` is as it was dealt."""
    trump_and_dealer = bytes((int(game["trump"]), int(game["dealer"])))
    return hashlib.sha256(game["hands"].tobytes() + trump_and_dealer).hexdigest()[:12]


class ThreadProgress(NamedTuple):
    """One search thread's counters since its lanes were made, and games finished since the last."""

    worker: int
    pid: int
    thread: int
    time: float
    """time.monotonic() at which the counters were read, seconds."""
    tally: NDArray[np.void]
    """[] of dtype TALLY, summed over the thread's groups of lanes."""
    stage_seconds: dict[str, float]
    """Where the thread's time went: select (games, trees and encoding up to the leaves), expand
    (priors, expansion, backup), copy and network (on CUDA: their launch), wait (for the device),
    idle (no game to play) and python (all the rest)."""
    finished: tuple[tuple[int, int], ...]
    """(game, its evaluations) of the games finished since the last message."""
    examples: Examples | None
    batches: Mapping[int, int] = {}
    """Rows, rounded up to a power of two: how many such batches since the lanes were made."""
    deals: tuple[str, ...] = ()
    """`deal_hash` of the thread's first deals, as far as they are new."""
    modes: CallModes | None = None
    """Of its first network call since its lanes were made; None: there was none."""
    holds: Mapping[Place, float] = {}
    """Where the worker's threads were while the device waited for them, seconds since it began."""
    watch_cpu_seconds: float = 0.0
    """What finding that out has cost the worker."""
    gpu_memory_mib: float | None = None
    """The most that torch had reserved on the worker's GPU; None on the CPU."""


class WorkerError(NamedTuple):
    """An error that ended a worker, with its traceback."""

    worker: int
    pid: int
    error: str


@dataclass
class WorkerStatus:
    """What the engine knows of one worker process, dead ones included."""

    handshake: Handshake
    state: Literal["running", "finished", "lost", "stalled"] = "running"
    """lost: its process ended unasked; stalled: it was ended for standing still."""
    progress: dict[int, ThreadProgress] = field(default_factory=dict)
    """Newest by thread, without examples."""
    stacks: str | None = None
    past_tally: NDArray[np.void] = field(default_factory=lambda: np.zeros((), TALLY))
    """[] of dtype TALLY: of earlier orders, whose lanes are gone."""
    past_seconds: dict[str, float] = field(default_factory=dict)
    past_batches: dict[int, int] = field(default_factory=dict)
    deals: list[str] = field(default_factory=list)
    """Hashes of the first FIRST_DEALS deals it played."""
    modes: CallModes | None = None
    """Of the newest network call that was looked into."""
    holds: Mapping[Place, float] = field(default_factory=dict)
    watch_cpu_seconds: float = 0.0
    gpu_memory_mib: float | None = None

    def begin_order(self) -> None:
        """Lanes are made anew, and their counters begin at 0."""
        self.past_tally, self.past_seconds = self.tally, self.stage_seconds
        self.past_batches = self.batches
        self.progress.clear()

    def take(self, message: ThreadProgress) -> None:
        """Take in a search thread's newest message."""
        self.progress[message.thread] = message._replace(examples=None)
        self.deals = [*self.deals, *message.deals][:FIRST_DEALS]
        self.modes = message.modes or self.modes
        self.holds, self.watch_cpu_seconds = message.holds, message.watch_cpu_seconds
        self.gpu_memory_mib = message.gpu_memory_mib

    @property
    def tally(self) -> NDArray[np.void]:
        """[] of dtype TALLY: all it has done."""
        return sum_tallies([self.past_tally, *(p.tally for p in self.progress.values())])

    @property
    def settled(self) -> int:
        """Lanes of the order at hand that have finished a game."""
        return sum(int(p.tally["settled"]) for p in self.progress.values())

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage, all threads and orders together."""
        return _added([self.past_seconds, *(p.stage_seconds for p in self.progress.values())])

    @property
    def batches(self) -> dict[int, int]:
        """Batches by their rows, rounded up to a power of two; all threads and orders together."""
        return _added([self.past_batches, *(p.batches for p in self.progress.values())])


class EngineEvent(NamedTuple):
    """Something that happened to the engine: a worker lost, replaced, stalled."""

    time: float
    """time.monotonic(), seconds."""
    kind: str
    text: str


class Progress(NamedTuple):
    """The state of a run, given to callbacks."""

    time: float
    """time.monotonic(), seconds."""
    games: int
    """Games finished in this call."""
    wanted: int | None
    """Games asked for; None while a window is measured."""
    tally: NDArray[np.void]
    """[] of dtype TALLY: all workers since they started, dead ones included."""
    lanes_settled: bool
    """Whether every lane has finished a game: the warm-up is over."""


def _added(counts: Iterable[Mapping[Any, Any]]) -> dict[Any, Any]:
    """Key-wise sum."""
    total: dict[Any, Any] = {}
    for one in counts:
        for key, count in one.items():
            total[key] = total.get(key, 0) + count
    return total


def sum_tallies(tallies: Iterable[NDArray[np.void]]) -> NDArray[np.void]:
    """[] of dtype TALLY: their field-wise sum."""
    total = np.zeros((), TALLY)
    for tally in tallies:
        for name in TALLY.names or ():
            total[name] += tally[name]
    return total


def subtract_tallies(later: NDArray[np.void], earlier: NDArray[np.void]) -> NDArray[np.void]:
    """[] of dtype TALLY: what was done in between."""
    difference = np.zeros((), TALLY)
    for name in TALLY.names or ():
        difference[name] = later[name] - earlier[name]
    return difference
