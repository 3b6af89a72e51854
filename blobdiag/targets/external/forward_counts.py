"""Forward calls of the networks of another project's engine, counted inside its processes."""

from __future__ import annotations

import os
from collections import Counter
from typing import NamedTuple

from blobdiag.model.program import ModuleCalls
from blobdiag.model.selfplay import WorkerRecord
from blobdiag.targets.program.environment import environment
from blobdiag.targets.program.records import Identity, ProcessCounts, read_records
from blobdiag.targets.temporary_folder import TemporaryFolder

COUNT_EVERY = 8
"""One call in so many is looked at, so that counting does not slow what is measured."""


class Kind(NamedTuple):
    """Calls of one process that are counted together."""

    process: Identity
    module: str
    parameter_device: str
    input_device: str
    dtype: str
    train_mode: bool
    grad_enabled: bool


class Size(NamedTuple):
    """Rows of a call, rounded up to a power of two."""

    rows: int


Count = Counter[tuple[Kind, str | Size]]
"""By kind: its 'calls', its 'rows', and its calls of each Size."""


class ForwardCounts:
    """Outermost forward calls of modules with parameters, in all processes of an engine.

    Counted between `begin` and `end`, as often as these are called.
    """

    def __init__(self) -> None:
        self._folder = TemporaryFolder()
        self._processes: dict[Identity, ProcessCounts] = {}
        self._before: Count = Counter()
        self._done: Count = Counter()

    def environment(self) -> dict[str, str]:
        """For the engine's process; what that starts inherits it."""
        return environment(os.environ, self._folder.path, COUNT_EVERY)

    def begin(self) -> None:
        """From here on calls count."""
        self._before = self._read()

    def end(self) -> None:
        """Up to here."""
        self._done += self._read() - self._before

    def close(self) -> None:
        """What was counted stays."""
        self._folder.close()

    def rows_so_far(self) -> int | None:
        """Rows of all calls since the engine was started; None where nothing was counted."""
        counted = self._read()
        return _sum(counted, "rows") if counted else None

    @property
    def mean_batch(self) -> float | None:
        """Rows a call; None where no call had rows."""
        rows, calls = _sum(self._done, "rows"), _sum(self._done, "calls")
        return rows / calls if rows and calls else None

    @property
    def reasons(self) -> list[str]:
        """Why counting ended before its time, a line for each process in which it did."""
        return [
            f"pid {counts.pid}: {counts.reason}"
            for counts in self._processes.values()
            if counts.reason
        ]

    def workers(self, device_asked: str) -> list[WorkerRecord]:
        """Each process that called a network: where that was, and with what."""
        by_process: dict[Identity, Count] = {}
        for (kind, what), count in self._done.items():
            by_process.setdefault(kind.process, Counter())[kind, what] = count
        return [
            _record(number, device_asked, self._processes[process], by_process[process])
            for number, process in enumerate(sorted(by_process))
        ]

    def _read(self) -> Count:
        counted: Count = Counter()
        for counts in read_records(self._folder.path).processes:
            self._processes[counts.identity] = counts
            for calls in counts.modules:
                if calls.parameter_device != "none":
                    kind = _kind(counts.identity, calls)
                    counted[kind, "calls"] += calls.calls
                    counted[kind, "rows"] += calls.rows or 0
                    for rows, count in calls.batch_histogram.items():
                        counted[kind, Size(rows)] += count
        return counted


def _kind(process: Identity, calls: ModuleCalls) -> Kind:
    return Kind(
        process,
        calls.module,
        calls.parameter_device,
        calls.input_device,
        calls.dtype,
        calls.train_mode,
        calls.grad_enabled,
    )


def _sum(counted: Count, wanted: str) -> int:
    return sum(count for (_, what), count in counted.items() if what == wanted)


def _record(number: int, device_asked: str, counts: ProcessCounts, counted: Count) -> WorkerRecord:
    kinds = {kind for kind, _ in counted}
    sizes: Counter[int] = Counter()
    for (_, what), count in counted.items():
        if isinstance(what, Size):
            sizes[what.rows] += count
    threads = [calls for calls in counts.modules if _kind(counts.identity, calls) in kinds]
    return WorkerRecord(
        worker=number,
        pid=counts.pid,
        device_asked=device_asked,
        parameter_devices=sorted({kind.parameter_device for kind in kinds}),
        output_device=None,
        dtype=" ".join(sorted({kind.dtype for kind in kinds})),
        threads=max(calls.threads for calls in threads),
        intra_op_threads=max((c.intra_op_threads or 0 for c in threads), default=0) or None,
        weights_hash=None,
        games=None,
        evaluations=_sum(counted, "rows"),
        batches=_sum(counted, "calls"),
        batch_histogram=dict(sorted(sizes.items())),
        grad_enabled=any(kind.grad_enabled for kind in kinds),
        train_mode=any(kind.train_mode for kind in kinds),
        gpu_memory_mib=counts.gpu_memory_mib,
    )
