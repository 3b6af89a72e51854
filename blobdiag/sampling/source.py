"""What a sampler can sample: readings by tier, from any source that fulfils the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple, Protocol

from blobdiag.model.machine import Gpu

TICK_SECONDS = 0.2


class Tier(Enum):
    """How often a group of metrics is read: its value is a number of ticks of 0.2 s.

    All tiers share one clock, so the sampler wakes five times a second and no more. Process
    lists are the rarest: they are slow and hold a lock of the driver.
    """

    FAST = 1
    HOST = 2
    SLOW = 5
    PROCESSES = 10


class Reading(NamedTuple):
    """One value of a series, in the unit that `names.unit` gives; None: not known this time.

    `time` is in monotonic seconds, None: that of the reading.
    """

    name: str
    value: float | None
    time: float | None = None


class Source(Protocol):
    """Where a sampler gets its readings; made inside the sampler's process."""

    @property
    def gpus(self) -> list[Gpu]:
        """The GPUs seen; empty exactly when `gpu_reason` says why."""

    @property
    def gpu_reason(self) -> str | None: ...

    @property
    def driver(self) -> str | None:
        """Version of the GPU driver, None without one."""

    @property
    def unsupported(self) -> dict[str, str]:
        """Metrics that have no value, for ever or at their last reading, each with its reason."""

    def watch(self, pids: Iterable[int]) -> None:
        """Sample these processes too, from now on."""

    def read(self, tier: Tier) -> Iterator[Reading]:
        """Read one tier; lazily, so that the caller can stamp each value as it comes."""

    def take_events(self) -> list[str]:
        """What happened since the last call: a lost GPU, a process that vanished."""

    def close(self) -> None: ...
