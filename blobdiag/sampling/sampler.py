"""The sampler's process: reads a source on its tiers and sends batches to its parent.

Runs apart from the workload, so that neither the workload's GIL nor its load delays a sample.
"""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, NamedTuple

from blobdiag.model import names
from blobdiag.model.machine import Gpu
from blobdiag.sampling.host import HostReader
from blobdiag.sampling.nvidia.nvml_reader import NvmlReader, NvmlUnavailable, open_nvml
from blobdiag.sampling.software import other_gpu
from blobdiag.sampling.source import TICK_SECONDS, Reading, Source, Tier


class Ready(NamedTuple):
    """First message of a sampler: what it sees."""

    gpus: list[Gpu]
    gpu_reason: str | None
    driver: str | None


class SampleBatch(NamedTuple):
    """What was read since the last message: samples as (name, unit, monotonic time, value).

    `unsupported` is None where it is as it was. `cpu_seconds` and `wall_seconds` are the sampler's
    own, since its `Ready`.
    """

    samples: list[tuple[str, str, float, float | None]]
    unsupported: dict[str, str] | None
    events: list[str]
    cpu_seconds: float
    wall_seconds: float
    last: bool


class MachineSource:
    """This machine: its NVIDIA GPUs, if any, and the host."""

    def __init__(self, binding: Any = None) -> None:
        """`binding` is NVML's, see `open_nvml`."""
        self._host = HostReader()
        self._nvml: NvmlReader | None = None
        self.gpu_reason: str | None = None
        try:
            self._nvml = open_nvml(binding)
        except NvmlUnavailable as error:
            self.gpu_reason = other_gpu() or str(error)

    @property
    def gpus(self) -> list[Gpu]:
        return self._nvml.gpus if self._nvml else []

    @property
    def driver(self) -> str | None:
        return self._nvml.driver if self._nvml else None

    @property
    def unsupported(self) -> dict[str, str]:
        return self._host.unsupported | (self._nvml.unsupported if self._nvml else {})

    def watch(self, pids: Iterable[int]) -> None:
        self._host.watch(pids)

    def read(self, tier: Tier) -> Iterator[Reading]:
        if self._nvml:
            yield from self._nvml.read(tier)
        yield from self._host.read(tier)

    def take_events(self) -> list[str]:
        return self._host.take_events() + (self._nvml.take_events() if self._nvml else [])

    def close(self) -> None:
        if self._nvml:
            self._nvml.close()


def serve(connection: Connection, parent: int) -> None:
    """Sample until the parent (its PID) says stop, closes the connection or dies.

    The parent sends the source's factory, then sets of PIDs to watch, and None to stop. It gets a
    `Ready`, then batches; a string instead is the reason why the sampler fails.
    """
    try:
        factory: Callable[[], Source] = connection.recv()
        source = factory()
        try:
            connection.send(Ready(source.gpus, source.gpu_reason, source.driver))
            _sample(_Orders(connection, source, parent), source)
        finally:
            source.close()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")


def _sample(orders: _Orders, source: Source) -> None:
    cost = _Cost()
    tick, running = 0, True
    reported: dict[str, str] = {}
    while running:
        running = orders.obey_until(cost.start + (tick + 1) * TICK_SECONDS)
        last, tick = tick, int((monotonic() - cost.start) / TICK_SECONDS)
        due = _due(last, tick)
        samples = [sample for tier in due for sample in _stamped(source.read(tier))]
        if Tier.SLOW in due:
            samples.append((names.SAMPLER_CPU, names.PERCENT, monotonic(), cost.percent()))
        now, events = source.unsupported, source.take_events()
        changed = None if now == reported else now
        orders.connection.send(SampleBatch(samples, changed, events, *cost.total(), not running))
        reported = now


def _due(last: int, now: int) -> list[Tier]:
    """Tiers whose turn came after tick `last`, up to tick `now`: missed turns are taken once."""
    return [tier for tier in Tier if now // tier.value > last // tier.value]


def _stamped(readings: Iterator[Reading]) -> Iterator[tuple[str, str, float, float | None]]:
    for name, value, time in readings:
        yield name, names.unit(name), monotonic() if time is None else time, value


class _Orders:
    """The parent's orders, its death included."""

    def __init__(self, connection: Connection, source: Source, parent: int) -> None:
        self.connection = connection
        self._source = source
        self._parent = parent

    def obey_until(self, deadline: float) -> bool:
        """Follow orders until a monotonic time; False: stop. Raises EOFError without a parent."""
        while (remaining := deadline - monotonic()) > 0:
            if not self._obey(remaining):
                return False
        # Also when sampling takes longer than a tick.
        return self._obey(0)

    def _obey(self, seconds: float) -> bool:
        if self.connection.poll(seconds):
            pids = self.connection.recv()
            if pids is None:
                return False
            self._source.watch(pids)
        # A process that the parent forked may hold the connection open after the parent's death.
        # (Windows does not fork, and a launcher may stand between the two.)
        if os.name == "posix" and os.getppid() != self._parent:
            raise EOFError("the parent died")
        return True


class _Cost:
    """What sampling costs, counted from the moment the sampler is ready."""

    def __init__(self) -> None:
        self.start = self._wall = monotonic()
        self._cpu_start = self._cpu = clock.process_time()

    def total(self) -> tuple[float, float]:
        """CPU and wall seconds since the start."""
        return clock.process_time() - self._cpu_start, monotonic() - self.start

    def percent(self) -> float:
        """CPU time in % of one core since the previous call."""
        cpu, wall = clock.process_time(), monotonic()
        share = (cpu - self._cpu) / (wall - self._wall)
        self._cpu, self._wall = cpu, wall
        return 100 * share
