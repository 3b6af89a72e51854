"""Facts about the processes of a watched program, read from its report.

Only calls of networks count: a module without parameters has no device, and one on `meta` computes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blobdiag.diagnosis.facts import Window, after_look_back, kind, mean, samples, windows
from blobdiag.model import names
from blobdiag.model.names import SELF_PLAY, TRAINING
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.report import Report

CPU, CUDA = "cpu", "cuda"
MARKERS = "markers"

_NO_DEVICE = ("none", "meta")
# Share of a process's calls that is ignored: a network may be tried once before it is moved.
STRAY_SHARE = 0.01
# CPU times are cumulative counters, so a few readings make a mean.
MIN_CPU_SAMPLES = 5
# A shorter life is mostly start-up.
MIN_LIFE_S = 2.0
# Lines of evidence in a report.
MOST_LINES = 12


class Expected(NamedTuple):
    """The kind of device that a program's networks should be on, and why."""

    kind: str
    because: str
    asked: bool
    """Whether an option names it; else it is inferred from a process with a CUDA context."""


class Off(NamedTuple):
    """A process and its calls on other devices than the expected one."""

    process: ProcessRecord
    calls: list[ModuleCalls]


def network_calls(process: ProcessRecord) -> list[ModuleCalls]:
    """The process's calls of networks, the most frequent first."""
    called = [c for c in process.modules if c.calls and kind(c.parameter_device) not in _NO_DEVICE]
    return sorted(called, key=lambda c: c.calls, reverse=True)


def total(calls: Sequence[ModuleCalls]) -> int:
    """The total number of calls."""
    return sum(c.calls for c in calls)


def on(device: str, calls: Sequence[ModuleCalls]) -> list[ModuleCalls]:
    """The calls on a kind of device."""
    return [c for c in calls if kind(c.parameter_device) == device]


def inference(calls: Sequence[ModuleCalls]) -> list[ModuleCalls]:
    """The calls that train nothing: without gradients, or with the network in evaluation mode."""
    return [c for c in calls if not (c.train_mode and c.grad_enabled)]


def training(calls: Sequence[ModuleCalls]) -> list[ModuleCalls]:
    """The calls that may train: with gradients and the network in training mode."""
    return [c for c in calls if c.train_mode and c.grad_enabled]


def calling(program: Program) -> list[ProcessRecord]:
    """The processes that called a network."""
    return [p for p in program.processes if network_calls(p)]


def computes(process: ProcessRecord) -> bool:
    """Whether the process has loaded a library that runs networks."""
    return process.torch is not None or bool(set(process.libraries) - {CUDA})


def is_python(process: ProcessRecord) -> bool:
    """Whether the process runs Python, by its command line or its own record."""
    program = process.command.split(maxsplit=1)[:1]
    named = bool(program) and program[0].rpartition("/")[2].startswith("python")
    return named or process.python is not None


class Family:
    """The parent-child relations of a program's processes."""

    def __init__(self, program: Program) -> None:
        self._by_pid: dict[int, list[ProcessRecord]] = {}
        for process in program.processes:
            self._by_pid.setdefault(process.pid, []).append(process)
        self._parents = {id(p) for caller in calling(program) for p in self.ancestors(caller)}

    def ancestors(self, process: ProcessRecord) -> list[ProcessRecord]:
        """The process's parent, the parent's parent, …, as far as they belong to the program."""
        found: list[ProcessRecord] = []
        seen: set[int] = set()
        # A PID may be reused: take the youngest process that started earlier.
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
        """Whether an ancestor of the process can run networks."""
        return any(computes(p) for p in self.ancestors(process))

    def has_workers(self, process: ProcessRecord) -> bool:
        """Whether a descendant of the process called a network."""
        return id(process) in self._parents

    def label(self, process: ProcessRecord) -> str:
        """'worker (pid 7)', 'parent (pid 7)' if it has workers, else 'process (pid 7)'."""
        if self.is_worker(process):
            return f"worker (pid {process.pid})"
        return f"{'parent' if self.has_workers(process) else 'process'} (pid {process.pid})"


def numbered(number: int, what: str = "process") -> str:
    """'1 process', '3 processes'."""
    return f"{number} {what}{'' if number == 1 else 'es'}"


def shortened(lines: Sequence[str]) -> list[str]:
    """The first MOST_LINES lines, and a line with the number of the others."""
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"and {more} more like these"] if more > 0 else [])]


def expected(report: Report) -> Expected | None:
    """The device asked for, else CUDA if a process has initialised it; None: unknown."""
    program = report.program
    if program is None:
        return None
    if program.expected_device is not None:
        because = program.expected_by or "--expect-device"
        return Expected(kind(program.expected_device), because, asked=True)
    on_cuda = next((p for p in program.processes if p.cuda_initialised), None)
    if on_cuda is None:
        return None
    because = f"{Family(program).label(on_cuda)} holds a CUDA context"
    return Expected(CUDA, because, asked=False)


def off_device(report: Report) -> list[Off]:
    """The processes that call networks on another device than the expected one.

    If the expectation is inferred from a CUDA context, these are workers that call networks on the
    CPU only, with an ancestor that holds a CUDA context and does not call on the CPU itself.
    Ignored are up to STRAY_SHARE of a process's calls, and up to STRAY_SHARE of the program's calls
    in a parent of workers.
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
            stray = len(on(CPU, calls)) < len(calls) or not _has_cuda_ancestor(family, process)
        if not stray:
            found.append(Off(process, off))
    return found


def _has_cuda_ancestor(family: Family, process: ProcessRecord) -> bool:
    """Whether an ancestor holds a CUDA context and does not call networks on the CPU itself."""
    most = STRAY_SHARE * total(network_calls(process))
    return any(
        p.cuda_initialised and total(on(CPU, network_calls(p))) <= most
        for p in family.ancestors(process)
    )


def life(report: Report, process: ProcessRecord) -> Window:
    """(start, end) of a process in seconds of the run; the run's end if it outlived the run."""
    end = report.seconds if process.ended_s is None else process.ended_s
    return process.started_s, max(process.started_s, end)


def overlap(report: Report, one: ProcessRecord, other: ProcessRecord) -> float:
    """Seconds in which both processes existed."""
    (a, b), (c, d) = life(report, one), life(report, other)
    return max(0.0, min(b, d) - max(a, c))


def steady(report: Report, process: ProcessRecord) -> list[Window]:
    """Windows of the process's steady work: marked self-play, else the later half of its life."""
    start, end = life(report, process)
    marked = [(max(start, s), min(end, e)) for s, e in windows(report) if s < end and start < e]
    return marked or [((start + end) / 2, end)]


def cpu_percent(report: Report, process: ProcessRecord) -> float | None:
    """CPU use of a process in its steady windows, in % of a core; over its life if not sampled."""
    within, (start, end) = steady(report, process), life(report, process)
    sampled = mean(report, [names.process(process.pid, "cpu")], within, MIN_CPU_SAMPLES)
    if sampled is not None or process.cpu_seconds is None or end - start < MIN_LIFE_S:
        return sampled
    return 100 * process.cpu_seconds / (end - start)


def host_seconds(calls: Sequence[ModuleCalls]) -> float | None:
    """Host seconds inside these calls, all threads together; None if one kind was not timed.

    Extrapolated from the timed calls.
    """
    if not calls or any(not c.timed_calls for c in calls):
        return None
    return sum(c.host_seconds * c.calls / c.timed_calls for c in calls)


def threads_inside(report: Report, process: ProcessRecord) -> float | None:
    """Mean number of the process's threads inside a call, over its life; None: unknown."""
    seconds = host_seconds(network_calls(process))
    start, end = life(report, process)
    return None if seconds is None or end <= start else seconds / (end - start)


def intra_op(calls: Sequence[ModuleCalls]) -> int | None:
    """The most intra-op threads of these calls; None: not recorded."""
    return max((c.intra_op_threads for c in calls if c.intra_op_threads), default=None)


def gpus_used(report: Report) -> list[str]:
    """UUIDs of the GPUs on which the driver listed the program; all GPUs if it lists none."""
    pids = {p.pid for p in report.program.processes} if report.program else set()
    parsed = [names.parse(series.name) for series in report.series]
    listed = {one.gpu for one in parsed if one.gpu is not None and one.pid in pids}
    return [gpu.uuid for gpu in report.gpus if not listed or gpu.uuid in listed]


def driver_listed(report: Report, process: ProcessRecord, uuid: str | None = None) -> float | None:
    """The most memory in MiB that the driver listed for a process, on one GPU or all together."""
    most = [
        max((mib for _, mib in samples(report, name, [(0.0, report.seconds)])), default=None)
        for gpu in report.gpus
        if uuid in (None, gpu.uuid)
        for name in [names.gpu_process(gpu.uuid, process.pid, "memory")]
    ]
    known = [mib for mib in most if mib is not None]
    return sum(known) if known else None


def uses_gpu(program: Program) -> bool | None:
    """Whether a process has initialised CUDA or opened NVIDIA's driver; None: unknown."""
    answers = [p.cuda_initialised or p.driver_opened for p in program.processes]
    if any(answers):
        return True
    return None if not answers or None in answers else False


def gpu_level(report: Report, metric: str) -> float | None:
    """Mean of a metric of the program's GPUs, in marked self-play, else over the run."""
    within = windows(report) or [(0.0, report.seconds)]
    series = [names.gpu(uuid, metric) for uuid in gpus_used(report)]
    return mean(report, series, after_look_back(within))


def marks_no_training(report: Report) -> bool:
    """Whether the program marks its phases, self-play among them, and none of them trains."""
    phases = {phase.name for phase in report.phases}
    marked = report.program is not None and report.program.phases_from == MARKERS
    return marked and SELF_PLAY in phases and TRAINING not in phases


def quoted(calls: Sequence[ModuleCalls]) -> str:
    """Describe the most frequent of these calls: 'Net on cpu, 1,234 calls of 1.0 rows'."""
    most = max(calls, key=lambda c: c.calls)
    rows = "" if most.mean_batch is None else f" of {most.mean_batch:,.1f} rows"
    return f"{most.module} on {most.parameter_device}, {most.calls:,} calls{rows}"
