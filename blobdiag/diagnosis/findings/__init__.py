"""Named causes: each one small pure function from a report to a finding, or None.

A finding names a cause, so it must be plainly there: what was not measured never makes one, and
thresholds lie well outside what healthy runs show. They rest on the saved report alone.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from blobdiag.diagnosis.findings import (
    program_calls,
    program_device,
    program_host,
    program_setup,
)
from blobdiag.diagnosis.findings.gpu import (
    busy_but_starved,
    near_out_of_memory,
    too_many_workers,
    transfer_bound,
)
from blobdiag.diagnosis.findings.host import (
    cores_counted_wrong,
    cpu_oversubscription,
    gil_bound_threads,
    memory_grows,
)
from blobdiag.diagnosis.findings.iteration import (
    idle_gap_between_phases,
    overfitted_by_reuse,
    search_collapsed,
)
from blobdiag.diagnosis.findings.network import (
    precision_not_used,
    queue_bound_server,
    tiny_batches,
)
from blobdiag.diagnosis.findings.workers import (
    device_not_propagated,
    same_games,
    stale_weights,
    train_mode_in_self_play,
)
from blobdiag.model.judgement import Finding
from blobdiag.model.report import Report

CATALOGUE: dict[str, Callable[[Report], Finding | None]] = {
    "device-not-propagated": device_not_propagated,
    "busy-but-starved": busy_but_starved,
    "tiny-batches": tiny_batches,
    "too-many-workers": too_many_workers,
    "gil-bound-threads": gil_bound_threads,
    "queue-bound-server": queue_bound_server,
    "cpu-oversubscription": cpu_oversubscription,
    "idle-gap-between-phases": idle_gap_between_phases,
    "search-collapsed": search_collapsed,
    "same-games": same_games,
    "stale-weights": stale_weights,
    "overfitted-by-reuse": overfitted_by_reuse,
    "cores-counted-wrong": cores_counted_wrong,
    "train-mode-in-self-play": train_mode_in_self_play,
    "memory-grows": memory_grows,
    "precision-not-used": precision_not_used,
    "transfer-bound": transfer_bound,
    "near-out-of-memory": near_out_of_memory,
}

PROGRAM_CATALOGUE: dict[str, Callable[[Report], Finding | None]] = {
    "device-not-propagated": program_device.device_not_propagated,
    "busy-but-starved": program_device.busy_but_starved,
    "tiny-batches": program_calls.tiny_batches,
    "too-many-workers": program_device.too_many_workers,
    "context-per-worker": program_device.context_per_worker,
    "gil-bound-threads": program_host.gil_bound_threads,
    "queue-bound-server": program_calls.queue_bound_server,
    "cpu-oversubscription": program_host.cpu_oversubscription,
    "idle-gap-between-phases": idle_gap_between_phases,
    "cores-counted-wrong": program_host.cores_counted_wrong,
    "train-mode-in-self-play": program_calls.train_mode_in_self_play,
    "debug-switches": program_setup.debug_switches,
    "near-out-of-memory": near_out_of_memory,
    "uninstrumented": program_setup.uninstrumented,
}
"""Of a program that was watched from outside; a name of both stands for the same cause."""


def find_all(report: Report) -> list[Finding]:
    """Every finding of its catalogue that the report shows, the costliest first.

    Ordered by the minutes of an iteration that the remedy is predicted to save; those whose gain
    is not known come last, in the catalogue's order.
    """
    catalogue = CATALOGUE if report.program is None else PROGRAM_CATALOGUE
    found = [finding for find in catalogue.values() if (finding := find(report)) is not None]
    return sorted(found, key=_cost, reverse=True)


def _cost(finding: Finding) -> float:
    minutes = finding.gain.minutes_per_iteration if finding.gain else None
    return -inf if minutes is None else minutes
