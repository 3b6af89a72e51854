"""Which of the processes that the driver lists on a GPU belong to this run.

In a container the driver may list PIDs of the host, or none at all; a process is then identified
by the memory it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from blobdiag.model import names
from blobdiag.model.report import Report

# Upper bound of what a process holds beside torch's allocations: CUDA context and loaded kernels,
# about 250 MiB (Turing) to 600 MiB (Hopper), and cuBLAS workspaces.
MOST_CONTEXT_MIB = 1024


@dataclass(frozen=True)
class Owners:
    """Result of `owners`; `foreign` is None if unknown, and `reason` says why."""

    foreign: list[int] | None
    """PIDs, in the driver's numbering, of processes that do not belong to the run."""
    by_memory: bool = False
    """Whether the run's processes were identified by memory because the driver's PIDs differ."""
    reason: str | None = None


def listed(
    report: Report, gpu: str, windows: Iterable[tuple[float, float]]
) -> dict[int, float | None]:
    """Processes that the driver listed on a GPU within the windows, by PID.

    `gpu` is a UUID, `windows` are in seconds of the run. A value is the largest memory seen, in
    MiB; None: listed, but of unknown memory.
    """
    spans = list(windows)
    found: dict[int, float | None] = {}
    for series in report.series:
        name = names.parse(series.name)
        if name.gpu != gpu or name.pid is None or name.metric != "memory":
            continue
        within = [
            value
            for time, value in zip(series.times_s, series.values, strict=True)
            if any(start <= time <= end for start, end in spans)
        ]
        if within:
            found[name.pid] = max((v for v in within if v is not None), default=None)
    return found


def owners(listed: Mapping[int, float | None], ours: Mapping[int, float | None]) -> Owners:
    """Find the listed processes of a GPU that do not belong to the run.

    `listed` is the driver's MiB by PID; `ours` is torch's figure in MiB for each process of the
    run, None if unknown. Processes are matched by PID if the driver lists one of `ours` with at
    least its memory. Else by memory: each of `ours` is the listed process with the least memory
    that holds at least as much, and at most MOST_CONTEXT_MIB more.
    """
    if not listed:
        return Owners(None, reason="the driver lists no process on this GPU")
    if any(_may_be(listed[pid], ours[pid]) for pid in listed.keys() & ours.keys()):
        return Owners(sorted(listed.keys() - ours.keys()))
    if None in ours.values() or None in listed.values():
        reason = "the driver lists none of our PIDs, and their memory is unknown"
        return Owners(None, reason=reason)
    rest = sorted((memory or 0.0, pid) for pid, memory in listed.items())
    for need in sorted((memory or 0.0 for memory in ours.values()), reverse=True):
        fit = next((entry for entry in rest if need <= entry[0] <= need + MOST_CONTEXT_MIB), None)
        if fit is None:
            reason = "the driver lists none of our PIDs, and no process with their memory"
            return Owners(None, by_memory=True, reason=reason)
        rest.remove(fit)
    return Owners(sorted(pid for _, pid in rest), by_memory=True)


def _may_be(listed: float | None, own: float | None) -> bool:
    """Whether a listed process can be ours with the same PID, by memory (PIDs may coincide)."""
    return listed is None or own is None or listed >= own
