"""Sources for a sampler in its own process; importable there, so that they can be pickled."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator

from scripted_nvml import ScriptedNvml

from blobdiag.model import names
from blobdiag.model.machine import Gpu
from blobdiag.sampling.sampler import MachineSource
from blobdiag.sampling.source import Reading, Tier

UTILIZATION, POWER = names.utilization("GPU-1"), names.gpu("GPU-1", "power")
OF_TIER = {
    Tier.HOST: names.HOST_CPU,
    Tier.SLOW: names.gpu("GPU-1", "temperature"),
    Tier.PROCESSES: names.gpu("GPU-1", "processes"),
}
"""The one series that a tier has."""


def scripted_machine() -> MachineSource:
    """The real host with a GPU played by a scripted binding."""
    return MachineSource(ScriptedNvml())


class ScriptedSource:
    """A GPU whose utilization counts its readings: 1, 2, 3, …; a series for each other tier."""

    gpu_reason: str | None = None
    driver: str | None = "575.51"

    def __init__(self) -> None:
        self.gpus = [Gpu(uuid="GPU-1", name="NVIDIA Scripted")]
        self.unsupported = {POWER: "not supported"}
        self.readings = 0
        self.events = ["begun"]
        self.watched: set[int] = set()

    def watch(self, pids: Iterable[int]) -> None:
        self.watched |= set(pids)

    def read(self, tier: Tier) -> Iterator[Reading]:
        if tier is Tier.FAST:
            self.readings += 1
            yield Reading(UTILIZATION, float(self.readings))
            yield from (Reading(names.process(pid, "cpu"), 7.0) for pid in sorted(self.watched))
        else:
            yield Reading(OF_TIER[tier], None)

    def take_events(self) -> list[str]:
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        return


class ModulesSource(ScriptedSource):
    """Tells as events which modules its process has imported."""

    def __init__(self) -> None:
        super().__init__()
        self.events = sorted(sys.modules)


def interrupted_on_arrival() -> type[ScriptedSource]:
    os.kill(os.getpid(), signal.SIGINT)
    return InterruptedSource


class InterruptedOnArrival:
    """A factory; its process gets a Ctrl-C before its first own line, and another while it runs."""

    def __call__(self) -> ScriptedSource:
        raise AssertionError("what arrives in the process is the class below")

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return interrupted_on_arrival, ()


class InterruptedSource(ScriptedSource):
    def __init__(self) -> None:
        super().__init__()
        self.events = [signal.Handlers(signal.getsignal(signal.SIGINT)).name]
        os.kill(os.getpid(), signal.SIGINT)


class FailingSource(ScriptedSource):
    def read(self, tier: Tier) -> Iterator[Reading]:
        raise OSError("scripted failure")


class UnstartableSource(ScriptedSource):
    def __init__(self) -> None:
        raise RuntimeError("no such machine")


class SleepyStart(ScriptedSource):
    def __init__(self) -> None:
        super().__init__()
        time.sleep(60)


class StuckSource(ScriptedSource):
    """Hangs in its first reading and does not mind being asked to end."""

    def read(self, tier: Tier) -> Iterator[Reading]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        yield Reading(UTILIZATION, None)
