"""What the engine knows of its workers, from the messages that they send."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.nn.modules.module import register_module_forward_pre_hook

from engine.game.rules import Game
from engine.search.lanes import FIRST_DEALS, TALLY
from engine.selfplay.stacks import Place
from engine.selfplay.worker_messages import CallModes, Handshake, ThreadProgress


@contextmanager
def modes_of_calls() -> Iterator[CallModes]:
    """Record the modes of network calls made in the body; too slow for every call."""
    modes = CallModes()
    hook = register_module_forward_pre_hook(modes.note)
    try:
        yield modes
    finally:
        hook.remove()


def deal_hash(game: Game) -> str:
    """12 hex digits of a hash of a deal's hands, trump and dealer; `game` is as dealt."""
    trump_and_dealer = bytes((int(game["trump"]), int(game["dealer"])))
    return hashlib.sha256(game["hands"].tobytes() + trump_and_dealer).hexdigest()[:12]


@dataclass
class WorkerStatus:
    """What the engine knows of one worker process, also after its end."""

    handshake: Handshake
    state: Literal["running", "finished", "lost", "stalled"] = "running"
    """lost: its process ended unexpectedly; stalled: killed for lack of progress."""
    progress: dict[int, ThreadProgress] = field(default_factory=dict)
    """Newest message of each thread, without its examples."""
    stacks: str | None = None
    """Python stacks of a stalled worker, or the traceback of the error that ended it."""
    past_tally: NDArray[np.void] = field(default_factory=lambda: np.zeros((), TALLY))
    """[] of dtype TALLY: counters of earlier orders, whose lanes no longer exist."""
    past_seconds: dict[str, float] = field(default_factory=dict)
    past_batches: dict[int, int] = field(default_factory=dict)
    deals: list[str] = field(default_factory=list)
    """Hashes of its first FIRST_DEALS deals."""
    modes: CallModes | None = None
    """Modes of the last network call that was recorded."""
    holds: Mapping[Place, float] = field(default_factory=dict)
    watch_cpu_seconds: float = 0.0
    gpu_memory_mib: float | None = None

    def begin_order(self) -> None:
        """Prepare for new lanes, whose counters start at 0."""
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
        """[] of dtype TALLY: counters of all its orders."""
        return sum_tallies([self.past_tally, *(p.tally for p in self.progress.values())])

    @property
    def settled(self) -> int:
        """Lanes of the current order that have finished a game."""
        return sum(int(p.tally["settled"]) for p in self.progress.values())

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage, summed over threads and orders."""
        return _sum_by_key([self.past_seconds, *(p.stage_seconds for p in self.progress.values())])

    @property
    def batches(self) -> dict[int, int]:
        """Batches by rows, rounded up to a power of two; summed over threads and orders."""
        return _sum_by_key([self.past_batches, *(p.batches for p in self.progress.values())])


class EngineEvent(NamedTuple):
    """A worker was lost, stalled, or sent an error."""

    time: float
    """time.monotonic(), seconds."""
    kind: str
    text: str


class Progress(NamedTuple):
    """The state of a call of generate_games or play_until, given to callbacks."""

    time: float
    """time.monotonic(), seconds."""
    games: int
    """Games finished in this call."""
    wanted: int | None
    """Games asked for; None in `play_until`."""
    tally: NDArray[np.void]
    """[] of dtype TALLY: counters of all workers since they started, ended ones included."""
    lanes_settled: bool
    """Whether every lane has finished a game: the warm-up is over."""


def _sum_by_key(counts: Iterable[Mapping[Any, Any]]) -> dict[Any, Any]:
    """Sum by key."""
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
    """[] of dtype TALLY: `later` - `earlier`."""
    difference = np.zeros((), TALLY)
    for name in TALLY.names or ():
        difference[name] = later[name] - earlier[name]
    return difference
