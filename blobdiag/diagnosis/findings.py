"""Named causes: each one small function from what was seen to a finding, or None.

The thresholds are conservative: a finding names a cause, so it must be plainly there.
"""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.reporting.model import Check, Finding, IdleGap, Throughput, WorkerRecord

# Healthy searches reach 0.99 (design, §3); a public engine with 78 % repeated leaves 0.22.
COLLAPSED_DISTINCT_SHARE = 0.9
# Sixteen workers that each evaluate alone see batches of 1 to 20 (design, §5, catalogue).
TINY_BATCH = 20.0
# More runnable threads than cores: two OpenMP threads on one fell 100-fold (design, §3, traps).
MAX_THREADS_PER_CORE = 1.0


def find_all(
    asked: str,
    workers: Sequence[WorkerRecord],
    throughputs: Sequence[Throughput],
    idle_gaps: Sequence[IdleGap],
    checks: Sequence[Check],
    cores_usable: int,
) -> list[Finding]:
    """Every finding of the catalogue that these records show; `asked` is the device asked for."""
    candidates = (
        device_not_propagated(workers, asked, checks),
        search_collapsed(throughputs),
        idle_gap_between_phases(idle_gaps),
        tiny_batches(throughputs),
        cpu_oversubscription(workers, cores_usable),
    )
    return [finding for finding in candidates if finding is not None]


def device_not_propagated(
    workers: Sequence[WorkerRecord], asked: str, checks: Sequence[Check] = ()
) -> Finding | None:
    """Workers' parameters on the CPU while another device was asked for: the report's bug."""
    # `compare` has workers that belong on the CPU beside those that do not.
    workers = [w for w in workers if w.device_asked != "cpu"]
    lost = [w for w in workers if "cpu" in w.parameter_devices]
    if asked == "cpu" or not lost:
        return None
    evidence = [f"worker {w.worker} (pid {w.pid}): parameters on cpu, {w.dtype}" for w in lost]
    evidence += [f"{c.name}: {c.observation}" for c in checks if c.name.endswith("GPU utilisation")]
    return Finding(
        name="device-not-propagated",
        title=f"{len(lost)} of {len(workers)} workers run their network on the CPU, not on {asked}",
        cause=(
            "The parent moves its network to the device and sends the workers its state dict. "
            "A worker builds a new network, which lies on the CPU, and load_state_dict copies the "
            "weights to where the new network is: the device does not travel with them. "
            "Training stays in the parent, so it uses the GPU and hides the fault."
        ),
        evidence=evidence,
        remedy=(
            "Pass device in the worker's arguments, and after "
            "network.load_state_dict(network_state) add: network.to(device)  "
            "(or build the network on the worker's device from the start)"
        ),
    )


def search_collapsed(throughputs: Sequence[Throughput]) -> Finding | None:
    """The search evaluates the same few nodes again and again: fast, and worth nothing."""
    evidence = [
        f"{t.device}: {t.search_health.distinct_share:.0%} of evaluations were of distinct nodes"
        for t in throughputs
        if t.search_health.distinct_share is not None
        and t.search_health.distinct_share < COLLAPSED_DISTINCT_SHARE
    ]
    if not evidence:
        return None
    return Finding(
        name="search-collapsed",
        title="The search evaluates the same nodes again and again",
        cause=(
            "Several leaves of one tree are collected before any is expanded, so most are the "
            "same unexpanded node. Games/min look good, but the policy is close to uniform."
        ),
        evidence=evidence,
        remedy="Batch across trees, one leaf per tree per step, not within one tree.",
    )


def idle_gap_between_phases(gaps: Sequence[IdleGap]) -> Finding | None:
    """The GPU waits, at a change of phase or inside one."""
    if not gaps:
        return None
    return Finding(
        name="idle-gap-between-phases",
        title=f"The GPU stood idle for {sum(gap.seconds for gap in gaps):.1f} s",
        cause="Work without the GPU (start-up, saving, copying) holds up work that needs it.",
        evidence=[f"{g.gpu}: {g.start_s:.1f} to {g.end_s:.1f} s, {g.phase}" for g in gaps],
        remedy="Keep workers alive between phases; prepare the next one before this one ends.",
    )


def tiny_batches(throughputs: Sequence[Throughput]) -> Finding | None:
    """Batches too small for a GPU: each costs a launch and does hardly any work."""
    tiny = [
        t
        for t in throughputs
        if t.device.startswith("cuda") and t.mean_batch is not None and t.mean_batch <= TINY_BATCH
    ]
    if not tiny:
        return None
    return Finding(
        name="tiny-batches",
        title=f"The GPU is given {min(t.mean_batch or 0 for t in tiny):.1f} positions at a time",
        cause="Each worker evaluates its own few leaves, so the GPU mostly launches kernels.",
        evidence=[
            f"{t.device}: mean batch {t.mean_batch:.1f} with {t.workers} workers, {t.lanes} lanes"
            for t in tiny
        ],
        remedy="Use fewer workers and more lanes each (--workers, --lanes).",
    )


def cpu_oversubscription(workers: Sequence[WorkerRecord], cores_usable: int) -> Finding | None:
    """More computing threads than cores: intra-op threads × threads, summed over the workers."""
    workers = max(_living_by_device(workers), key=_threads, default=[])
    threads = _threads(workers)
    if threads <= MAX_THREADS_PER_CORE * cores_usable:
        return None
    return Finding(
        name="cpu-oversubscription",
        title=f"{threads} computing threads share {cores_usable} usable cores",
        cause="Threads of one core take turns, and OpenMP's spin while they wait for others.",
        evidence=[
            f"worker {w.worker} (pid {w.pid}): {w.threads} threads × {w.intra_op_threads} intra-op"
            for w in workers
        ],
        remedy="Call torch.set_num_threads(1) in each worker, and run one thread per usable core.",
    )


def _threads(workers: Sequence[WorkerRecord]) -> int:
    return sum(w.threads * w.intra_op_threads for w in workers)


def _living_by_device(workers: Sequence[WorkerRecord]) -> list[list[WorkerRecord]]:
    """Workers that compute at the same time: those of one device; arms take turns."""
    kinds: dict[str, list[WorkerRecord]] = {}
    for worker in workers:
        if worker.state == "finished":
            kinds.setdefault(worker.device_asked.split(":")[0], []).append(worker)
    return list(kinds.values())
