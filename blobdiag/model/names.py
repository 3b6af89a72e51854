"""Names of phases, metrics and sampled series in a report, with the units of the series.

A series is named by its subject: `gpu/<uuid>/utilization`, `gpu/<uuid>/process/<pid>/memory`,
`process/<pid>/cpu`, `program/cpu`, `host/cpu`. No other module spells out such a name.
"""

from __future__ import annotations

from typing import NamedTuple

# Phases.
SELF_PLAY = "self-play"
TRAINING = "training"
WARM_UP = "warm-up"

START_UP = "start-up"
SHUT_DOWN = "shut-down"
SET_UP = "set-up"
BARE_NETWORK = "bare network"
"""The phase in which the network is measured alone, and its metric."""
REPLAY_BUFFER, SAVING = "replay buffer", "saving games"
WEIGHT_REFRESH, CHECKPOINT = "weight refresh", "checkpoint"
EVALUATION = "evaluation"

# Metrics of one or several iterations.
EXAMPLES_PER_SECOND = "examples per second"
GAMES_PLAYED = "games played"
EXAMPLES_MADE = "examples made"
EXAMPLES_TRAINED = "examples trained on"
"""Includes repeats: for an engine that chooses itself how often it trains on an example."""
EXAMPLE_USES = "each example trained on"
ITERATIONS = "iterations measured"
EVALUATE_EVERY = "iterations between matches"
MEASURED_SECONDS = "these iterations, measured"
PROJECTED_SECONDS = "these iterations, projected"

# Series of the machine and of the sampler, in % of all cores and in % of a core.
HOST_CPU = "host/cpu"
SAMPLER_CPU = "sampler/cpu"
THROTTLED_PERIODS = "cgroup/throttled_periods"
THROTTLED_SECONDS = "cgroup/throttled_seconds"

# Series of a watched program, all its processes together.
PROGRAM_CPU = "program/cpu"
PROGRAM_RSS = "program/rss"
PROGRAM_PROCESSES = "program/processes"

# Units that determine how values are merged or judged.
PERCENT = "%"
BIT_MASK = "bit mask"
MIB = "MiB"

# Metrics of a GPU; `blobdiag.sampling.nvidia.nvml_calls` lists the NVML call of each.
GPU_UNITS = {
    "utilization": PERCENT,
    "memory_utilization": PERCENT,
    "memory_used": MIB,
    "sm_activity": PERCENT,
    "sm_occupancy": PERCENT,
    "tensor_activity": PERCENT,
    "dram_activity": PERCENT,
    "utilization_samples": PERCENT,
    "power": "W",
    "sm_clock": "MHz",
    "memory_clock": "MHz",
    "temperature": "°C",
    "clocks_event_reasons": BIT_MASK,
    "energy": "mJ",
    "pcie_generation": "generation",
    "pcie_width": "lanes",
    "pcie_sent": "MiB/s",
    "pcie_received": "MiB/s",
    "processes": "processes",
    "process_utilization": PERCENT,
}
GPU_PROCESS_UNITS = {"memory": MIB, "sm_utilization": PERCENT}
PROCESS_UNITS = {
    "cpu": PERCENT,
    "rss": MIB,
    "threads": "threads",
    "voluntary_switches": "switches",
    "involuntary_switches": "switches",
}
_OTHER_UNITS = {
    HOST_CPU: PERCENT,
    SAMPLER_CPU: PERCENT,
    THROTTLED_PERIODS: "periods",
    THROTTLED_SECONDS: "s",
    PROGRAM_CPU: PERCENT,
    PROGRAM_RSS: MIB,
    PROGRAM_PROCESSES: "processes",
}
_PROGRESS = "progress/"


def gpu(uuid: str, metric: str) -> str:
    """A GPU's metric: `utilization` in %, `memory_used` in MiB, `power` in W, …"""
    return f"gpu/{uuid}/{metric}"


def utilization(uuid: str) -> str:
    """A GPU's utilisation by NVML, in %: the share of time in which any kernel ran."""
    return gpu(uuid, "utilization")


def process(pid: int, metric: str) -> str:
    """A process's metric: `cpu` in % of a core, `rss` in MiB, `threads`, …"""
    return f"process/{pid}/{metric}"


def gpu_process(uuid: str, pid: int, metric: str) -> str:
    """A driver's metric of a process on a GPU: `memory` in MiB, `sm_utilization` in %."""
    return gpu(uuid, f"process/{pid}/{metric}")


def progress(counter: str) -> str:
    """The total, over all processes, of a counter that the watched program defines."""
    return _PROGRESS + counter


def progress_counter(name: str) -> str | None:
    """The counter's name if the series `name` is a counter's total, else None."""
    return name.removeprefix(_PROGRESS) if name.startswith(_PROGRESS) else None


class SeriesName(NamedTuple):
    """The parts of a series' name; `gpu` or `pid` is None if the name has none."""

    gpu: str | None
    pid: int | None
    metric: str


def parse(name: str) -> SeriesName:
    """Split a series' name into its parts; a UUID may contain slashes (`MIG-…/1/0`)."""
    uuid, rest = None, name
    if name.startswith("gpu/"):
        head, found, tail = name.removeprefix("gpu/").partition("/process/")
        if found:
            uuid, rest = head, f"process/{tail}"
        else:
            uuid, _, rest = head.rpartition("/")
    if rest.startswith("process/"):
        pid, _, metric = rest.removeprefix("process/").partition("/")
        if pid.isdecimal():
            return SeriesName(uuid, int(pid), metric)
    return SeriesName(uuid, None, rest)


def unit(name: str) -> str:
    """The unit of a series, by its full name. Raises KeyError for an unknown metric."""
    if progress_counter(name) is not None:
        return "count"
    series = parse(name)
    if series.gpu is not None:
        return (GPU_UNITS if series.pid is None else GPU_PROCESS_UNITS)[series.metric]
    return (_OTHER_UNITS if series.pid is None else PROCESS_UNITS)[series.metric]
