"""What workers say of themselves: at the handshake, while they run, and when they are gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.lanes import TALLY
from engine.replay import Examples


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

    @property
    def on_its_device(self) -> bool:
        return self.parameter_devices == (self.device_asked,) == (self.output_device,)


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

    def begin_order(self) -> None:
        """Lanes are made anew, and their counters begin at 0."""
        self.past_tally, self.past_seconds = self.tally, self.stage_seconds
        self.progress.clear()

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
        total = dict(self.past_seconds)
        for progress in self.progress.values():
            for stage, seconds in progress.stage_seconds.items():
                total[stage] = total.get(stage, 0.0) + seconds
        return total


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
