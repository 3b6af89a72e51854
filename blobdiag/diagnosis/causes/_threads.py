"""Threads that compute on the cores: counts, thresholds and words that several causes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.facts import Window, asked, bare_rate, samples
from blobdiag.diagnosis.program import CPU, calling, intra_op, network_calls, on, overlap
from blobdiag.model import names
from blobdiag.model.device import Device
from blobdiag.model.judgement import Gain
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord

# Four search threads of one intra-op thread each on two cores were as fast as two (1.01).
COSTLY = 1.1
# Of a thread's time: a queue, or a lock, that keeps up leaves it more than half for its work.
WAITING_SHARE = 0.5


class Computing(NamedTuple):
    """A process that calls networks on the CPU, and its intra-op threads."""

    process: ProcessRecord
    threads: int


def crowd(report: Report, program: Program) -> list[Computing]:
    """The processes of one parent that compute on the CPU at the same time; the most threads.

    A parent and its workers may take turns, so they are not counted together.
    """
    by_parent: dict[int, list[Computing]] = {}
    for process in calling(program):
        threads = intra_op(on(CPU, network_calls(process)))
        if threads is not None:
            by_parent.setdefault(process.parent_pid, []).append(Computing(process, threads))
    crowds = [
        [c for c in siblings if overlap(report, c.process, one.process) > 0]
        for siblings in by_parent.values()
        for one in siblings
    ]
    return max(crowds, key=total_threads, default=[])


def total_threads(processes: Sequence[Computing]) -> int:
    """Their intra-op threads, all together."""
    return sum(one.threads for one in processes)


def intra_op_words(threads: int) -> str:
    """'1 intra-op thread', '8 intra-op threads'."""
    return f"{threads} intra-op thread{'' if threads == 1 else 's'}"


def switches_per_second(report: Report, pid: int, within: Sequence[Window]) -> float | None:
    """How often a process's threads were taken off a core, a second; None: not sampled."""
    counts = samples(report, names.process(pid, "involuntary_switches"), within)
    if len(counts) < 2:
        return None
    (start, first), (end, last) = counts[0], counts[-1]
    return (last - first) / (end - start) if end > start and last >= first else None


def gain_of_own_cores(report: Report, arm: Sequence[WorkerRecord]) -> Gain:
    """What these workers reach with one computing thread per core."""
    throughput = asked(report)
    asked_kind = Device.of(arm[0].device_asked).kind
    if throughput is None or Device.of(throughput.device).kind != asked_kind:
        return gains.unknown(f"self-play on {report.device} was not measured with these workers")
    bare, what = bare_rate(report, throughput), "with one intra-op thread each"
    return gains.up_to_healthy(report, throughput, bare, what)
