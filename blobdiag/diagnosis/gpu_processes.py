"""Whose the processes on a GPU are that the driver lists.

In a container the driver may list PIDs of the host, or none at all; a process is then known by
the memory it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from blobdiag.model import names
from blobdiag.model.report import Report

# What a process holds beside torch's allocations: the CUDA context and the kernels loaded. About
# 250 MiB (Turing) to 600 MiB (Hopper), and cuBLAS workspaces; more is somebody else's memory.
MOST_CONTEXT_MIB = 1024


@dataclass(frozen=True)
class Owners:
    """Whose the listed processes of a GPU are; `foreign` is None where `reason` says why."""

    foreign: list[int] | None
    """PIDs, as the driver numbers them, that are not ours."""
    by_memory: bool = False
    """Whether ours were found by the memory they hold: the driver numbers processes otherwise."""
    reason: str | None = None


def listed(
    report: Report, gpu: str, windows: Iterable[tuple[float, float]]
) -> dict[int, float | None]:
    """Processes that the driver listed on a GPU (its UUID) within the windows (run's seconds).

    By PID the largest memory seen, in MiB; None: listed, but of unknown memory.
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
    """Whose the processes are that the driver lists on a GPU.

    `listed` is the driver's MiB by PID, `ours` torch's own figure of each of our processes there,
    None where it said nothing. By PID where the driver lists one of ours that holds no less than
    it says; else by memory: each of ours is the listed process with the least memory above its
    own and at most MOST_CONTEXT_MIB more.
    """
    if not listed:
        return Owners(None, reason="the driver lists no process, not even ours")
    if any(_may_be(listed[pid], ours[pid]) for pid in listed.keys() & ours.keys()):
        return Owners(sorted(listed.keys() - ours.keys()))
    if None in ours.values() or None in listed.values():
        reason = "the driver lists none of our PIDs, and memory to know them by is not told"
        return Owners(None, reason=reason)
    rest = sorted((memory or 0.0, pid) for pid, memory in listed.items())
    for need in sorted((memory or 0.0 for memory in ours.values()), reverse=True):
        fit = next((entry for entry in rest if need <= entry[0] <= need + MOST_CONTEXT_MIB), None)
        if fit is None:
            reason = "the driver lists none of our PIDs, nor the memory that they hold"
            return Owners(None, by_memory=True, reason=reason)
        rest.remove(fit)
    return Owners(sorted(pid for _, pid in rest), by_memory=True)


def _may_be(listed: float | None, own: float | None) -> bool:
    """Whether a listed process can be the one of ours with the same PID (numbers may coincide)."""
    return listed is None or own is None or listed >= own
