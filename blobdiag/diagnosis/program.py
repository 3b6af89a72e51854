"""What the processes of a watched program did, asked the way its checks and findings ask.

All of it from the report alone. A call counts here where a network was called: a module without
parameters has no device, and one on `meta` computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blobdiag.diagnosis.facts import Window, kind, mean, samples, windows
from blobdiag.model.activity import LOOK_BACK_S
from blobdiag.model.names import SELF_PLAY, TRAINING
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.report import Report

CPU, CUDA = "cpu", "cuda"
MARKERS = "markers"

_NO_DEVICE = ("none", "meta")
# Of a process's calls: a network that is tried out once before it is moved is no fault.
STRAY_SHARE = 0.01
# CPU times are counters, so that few readings of them make a mean.
MIN_CPU_SAMPLES = 5
# A share of a life shorter than this is mostly start-up.
MIN_LIFE_S = 2.0
# Of evidence: what more processes do says nothing new.
MOST_LINES = 12


class Expected(NamedTuple):
    """On which kind of device a program's networks should be, and what says so."""

    kind: str
    because: str
    asked: bool
    """By an option; else it is gathered from a process that holds a CUDA context."""


class Off(NamedTuple):
    """A process with its calls on other devices than the expected one."""

    process: ProcessRecord
    calls: list[ModuleCalls]


def network_calls(process: ProcessRecord) -> list[ModuleCalls]:
    """Its calls of networks, the most frequent first."""
    called = [c for c in process.modules if c.calls and kind(c.parameter_device) not in _NO_DEVICE]
    return sorted(called, key=lambda c: c.calls, reverse=True)


def total(calls: Sequence[ModuleCalls]) -> int:
    """How many calls these are."""
    return sum(c.calls for c in calls)


def on(device: str, calls: Sequence[ModuleCalls]) -> list[ModuleCalls]:
    """Those of a kind of device."""
    return [c for c in calls if kind(c.parameter_device) == device]


def inference(calls: Sequence[ModuleCalls]) -> list[ModuleCalls]:
    """Those that train nothing: without gradients, or with the network in evaluation mode."""
    return [c for c in calls if not (c.train_mode and c.grad_enabled)]


def training(calls: Sequence[ModuleCalls]) -> list[ModuleCalls]:
    """Those that may train: with gradients and the network in training mode."""
    return [c for c in calls if c.train_mode and c.grad_enabled]


def calling(program: Program) -> list[ProcessRecord]:
    """The processes that called a network."""
    return [p for p in program.processes if network_calls(p)]


def computes(process: ProcessRecord) -> bool:
    """Whether it has loaded a library that runs networks."""
    return process.torch is not None or bool(set(process.libraries) - {CUDA})


def is_python(process: ProcessRecord) -> bool:
    """Whether it is an interpreter of Python, as far as its command line or it itself tells."""
    program = process.command.split(maxsplit=1)[:1]
    named = bool(program) and program[0].rpartition("/")[2].startswith("python")
    return named or process.python is not None


class Family:
    """Who started whom among the processes of a program."""

    def __init__(self, program: Program) -> None:
        self._by_pid: dict[int, list[ProcessRecord]] = {}
        for process in program.processes:
            self._by_pid.setdefault(process.pid, []).append(process)
        self._parents = {id(p) for caller in calling(program) for p in self.ancestors(caller)}

    def ancestors(self, process: ProcessRecord) -> list[ProcessRecord]:
        """Its parent, its parent's parent, … as far as they belong to the program."""
        found: list[ProcessRecord] = []
        seen: set[int] = set()
        # A PID may be used again: of several the youngest that was there before.
        while parents := [
            p
            for p in self._by_pid.get(process.parent_pid, [])
            if p.started_s <= process.started_s and p is not process and id(p) not in seen
        ]:
            process = max(parents, key=lambda p: p.started_s)
            found.append(process)
            seen.add(id(process))
        return found

    def is_worker(self, process: ProcessRecord) -> bool:
        """Whether a process that itself can run networks started it."""
        return any(computes(p) for p in self.ancestors(process))

    def has_workers(self, process: ProcessRecord) -> bool:
        """Whether a process below it called a network."""
        return id(process) in self._parents

    def label(self, process: ProcessRecord) -> str:
        """'worker (pid 7)', 'parent (pid 7)' of such, or 'process (pid 7)'."""
        if self.is_worker(process):
            return f"worker (pid {process.pid})"
        return f"{'parent' if self.has_workers(process) else 'process'} (pid {process.pid})"


def numbered(number: int, what: str = "process") -> str:
    """'1 process', '3 processes'."""
    return f"{number} {what}{'' if number == 1 else 'es'}"


def shortened(lines: Sequence[str]) -> list[str]:
    """At most MOST_LINES of them, and how many more there are."""
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"and {more} more like these"] if more > 0 else [])]


def expected(report: Report) -> Expected | None:
    """What was asked for, else CUDA where a process has initialised it; None: nothing tells."""
    program = report.program
    if program is None:
        return None
    if program.expected_device is not None:
        because = program.expected_by or "--expect-device"
        return Expected(kind(program.expected_device), because, asked=True)
    holder = next((p for p in program.processes if p.cuda_initialised), None)
    if holder is None:
        return None
    because = f"{Family(program).label(holder)} holds a CUDA context"
    return Expected(CUDA, because, asked=False)


def off_device(report: Report) -> list[Off]:
    """The processes whose networks are not where they are expected.

    Where only a CUDA context says what is expected, these are workers that call networks on the CPU
    alone, below a process that holds one and does not do so itself. Calls that are a stray part of
    a process's do not count, nor those of a parent that are a stray part of the program's.
    """
    program, device = report.program, expected(report)
    if program is None or device is None:
        return []
    everything = total([c for p in program.processes for c in network_calls(p)])
    family, found = Family(program), []
    for process in calling(program):
        calls = network_calls(process)
        off = [c for c in calls if kind(c.parameter_device) != device.kind]
        if total(off) <= STRAY_SHARE * total(calls):
            continue
        if device.asked:
            stray = total(off) <= STRAY_SHARE * everything and family.has_workers(process)
        else:
            stray = len(on(CPU, calls)) < len(calls) or not _below_a_holder(family, process)
        if not stray:
            found.append(Off(process, off))
    return found


def _below_a_holder(family: Family, process: ProcessRecord) -> bool:
    """Whether a process above it holds a CUDA context, and does not call on the CPU as well."""
    most = STRAY_SHARE * total(network_calls(process))
    return any(
        p.cuda_initialised and total(on(CPU, network_calls(p))) <= most
        for p in family.ancestors(process)
    )


def life(report: Report, process: ProcessRecord) -> Window:
    """From its start to its end, or to the run's."""
    end = report.seconds if process.ended_s is None else process.ended_s
    return process.started_s, max(process.started_s, end)


def overlap(report: Report, one: ProcessRecord, other: ProcessRecord) -> float:
    """Seconds in which both were there."""
    (a, b), (c, d) = life(report, one), life(report, other)
    return max(0.0, min(b, d) - max(a, c))


def steady(report: Report, process: ProcessRecord) -> list[Window]:
    """When it did what it is for: marked self-play, else the later half of its life."""
    start, end = life(report, process)
    marked = [(max(start, s), min(end, e)) for s, e in windows(report) if s < end and start < e]
    return marked or [((start + end) / 2, end)]


def cpu_percent(report: Report, process: ProcessRecord) -> float | None:
    """Its CPU time while it was steady, in % of a core; over its life where it was not sampled."""
    within, (start, end) = steady(report, process), life(report, process)
    sampled = mean(report, [f"process/{process.pid}/cpu"], within, MIN_CPU_SAMPLES)
    if sampled is not None or process.cpu_seconds is None or end - start < MIN_LIFE_S:
        return sampled
    return 100 * process.cpu_seconds / (end - start)


def host_seconds(calls: Sequence[ModuleCalls]) -> float | None:
    """Time inside these calls, all threads together; None where one kind of them was not timed.

    From the calls that were timed, as if the others took as long.
    """
    if not calls or any(not c.timed_calls for c in calls):
        return None
    return sum(c.host_seconds * c.calls / c.timed_calls for c in calls)


def threads_inside(report: Report, process: ProcessRecord) -> float | None:
    """How many of its threads were inside a call at once, on average over its life."""
    seconds = host_seconds(network_calls(process))
    start, end = life(report, process)
    return None if seconds is None or end <= start else seconds / (end - start)


def intra_op(calls: Sequence[ModuleCalls]) -> int | None:
    """The most intra-op threads of these calls; None: no call told."""
    return max((c.intra_op_threads for c in calls if c.intra_op_threads), default=None)


def gpus_used(report: Report) -> list[str]:
    """UUIDs of the GPUs on which the driver listed the program; all where it lists none."""
    pids = {p.pid for p in report.program.processes} if report.program else set()
    listed = {
        uuid for uuid, pid in (_gpu_and_pid(series.name) for series in report.series) if pid in pids
    }
    return [gpu.uuid for gpu in report.gpus if not listed or gpu.uuid in listed]


def _gpu_and_pid(name: str) -> tuple[str, int | None]:
    """Of `gpu/UUID/process/PID/memory`."""
    match name.split("/"):
        case ["gpu", uuid, "process", pid, _] if pid.isdecimal():
            return uuid, int(pid)
    return "", None


def driver_listed(report: Report, process: ProcessRecord, uuid: str | None = None) -> float | None:
    """The most memory that the driver listed for a process, of one GPU or of all, MiB."""
    most = [
        max((mib for _, mib in samples(report, name, [(0.0, report.seconds)])), default=None)
        for gpu in report.gpus
        if uuid in (None, gpu.uuid)
        for name in [f"gpu/{gpu.uuid}/process/{process.pid}/memory"]
    ]
    known = [mib for mib in most if mib is not None]
    return sum(known) if known else None


def uses_gpu(program: Program) -> bool | None:
    """Whether a process computes with CUDA or has opened its driver; None: that cannot be told."""
    answers = [p.cuda_initialised or p.driver_opened for p in program.processes]
    if any(answers):
        return True
    return None if not answers or None in answers else False


def gpu_level(report: Report, metric: str) -> float | None:
    """Mean of a metric of the GPUs it uses, in marked self-play, else over the run."""
    within = windows(report) or [(0.0, report.seconds)]
    names = [f"gpu/{uuid}/{metric}" for uuid in gpus_used(report)]
    return mean(report, names, [(start + LOOK_BACK_S, end) for start, end in within])


def marks_no_training(report: Report) -> bool:
    """Whether the program marks its phases, self-play among them, and none of them trains."""
    names = {phase.name for phase in report.phases}
    marked = report.program is not None and report.program.phases_from == MARKERS
    return marked and SELF_PLAY in names and TRAINING not in names


def quoted(calls: Sequence[ModuleCalls]) -> str:
    """'Net on cpu, 1,234 calls of 1.0 rows', of the most frequent of these calls."""
    most = max(calls, key=lambda c: c.calls)
    rows = "" if most.mean_batch is None else f" of {most.mean_batch:,.1f} rows"
    return f"{most.module} on {most.parameter_device}, {most.calls:,} calls{rows}"
