"""How the network is called: rows of a batch, who fills it, and in which precision."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.facts import arm_of, arms, asked, kind, rate_at, stage_shares
from blobdiag.diagnosis.findings.flags import flag
from blobdiag.model.judgement import Finding, Gain
from blobdiag.model.report import Report
from blobdiag.model.selfplay import NetworkRate, Throughput

# Sixteen workers that each evaluate alone see batches of 1 to 20 (design, §5, catalogue). On a
# GPU so few rows cost as much as hundreds: no measurement is needed to call that a loss.
TINY_ROWS_CUDA = 20.0
# Elsewhere the loss is measured. A batch of up to so many rows is small: a healthy one has about
# 190 on a core and thousands on a GPU (design, §3, Lockstep).
SMALL_ROWS = {"cpu": 48.0, "cuda": 512.0}
# The network alone must be so much faster in large batches: above what a neighbour on the
# machine does to one of two measurements that are taken in turn.
TINY_LOSS = 1.5
# Of a worker's time: a queue that keeps up leaves it more than half for its trees.
WAITING_SHARE = 0.5
# bfloat16 must be so much faster before it is missed: a probe's best of five repeats to 5 %.
PRECISION_GAIN = 1.2


def tiny_batches(report: Report) -> Finding | None:
    """Batches too small for the device: each costs a call and does hardly any work."""
    tiny = [t for t in report.throughput if _is_tiny(t)]
    if not tiny:
        return None
    worst = min(tiny, key=lambda t: t.mean_batch or 0)
    evidence = []
    for t in tiny:
        evidence.append(
            f"{t.device}: mean batch {t.mean_batch:.1f} with {t.workers} workers, {t.lanes} lanes"
        )
        if (measured := _small_and_large(t)) is not None:
            evidence += [
                f"{t.device}: the network alone reaches {rate.evaluations_per_second:,.0f} evals/s "
                f"in batches of {rate.rows:,}"
                for rate in measured
            ]
    return Finding(
        name="tiny-batches",
        title=f"The network is given {worst.mean_batch:.1f} positions at a time",
        cause=(
            "Each worker evaluates its own few leaves: a call costs about the same for many more."
        ),
        evidence=evidence,
        remedy=(
            "Keep more games in progress and evaluate their leaves together: fewer workers with "
            f"more games each{flag(report, '--workers', '--lanes')}, and games enough for them"
        ),
        gain=_gain_of_large(report, worst),
    )


def _is_tiny(throughput: Throughput) -> bool:
    if throughput.mean_batch is None:
        return False
    measured = _small_and_large(throughput)
    on = kind(throughput.device)
    if measured is None:
        return on == "cuda" and throughput.mean_batch <= TINY_ROWS_CUDA
    small, large = measured
    return (
        throughput.mean_batch <= SMALL_ROWS.get(on, 0.0)
        and large.evaluations_per_second >= TINY_LOSS * small.evaluations_per_second
    )


def _small_and_large(throughput: Throughput) -> tuple[NetworkRate, NetworkRate] | None:
    """The network alone at about the mean batch, and at its best with more rows."""
    if throughput.mean_batch is None:
        return None
    small = rate_at(throughput, throughput.mean_batch)
    larger = [rate for rate in throughput.bare_network if small and rate.rows >= 2 * small.rows]
    if small is None or not larger or small.rows > 2 * max(throughput.mean_batch, 1):
        return None
    return small, max(larger, key=lambda rate: rate.evaluations_per_second)


def _gain_of_large(report: Report, throughput: Throughput) -> Gain:
    measured = _small_and_large(throughput)
    if measured is None:
        return gains.unknown("the network alone was not measured at this batch size and a large")
    large = measured[1]
    bare, what = large.evaluations_per_second, f"in batches of {large.rows:,}"
    return gains.up_to_healthy(report, throughput, bare, what)


def queue_bound_server(report: Report) -> Finding | None:
    """Workers wait for a process that evaluates for all of them, and it never sees many at once."""
    for arm in arms(report):
        servers = [w for w in arm if w.serves and w.mean_batch is not None]
        waiting = stage_shares([w for w in arm if not w.serves]).get("wait", 0.0)
        rows = sum(w.evaluations or 0 for w in servers) / max(
            1, sum(w.batches or 0 for w in servers)
        )
        if servers and rows <= TINY_ROWS_CUDA and waiting >= WAITING_SHARE:
            break
    else:
        return None
    clients = len(arm) - len(servers)
    return Finding(
        name="queue-bound-server",
        title=f"{clients} workers wait {waiting:.0%} of their time for an inference server",
        cause=(
            "Each request goes through a queue, pickled, to one process, and its worker waits for "
            "the answer: the queue takes longer than the network, and batches never fill."
        ),
        evidence=[
            f"server (pid {w.pid}): {w.batches:,} batches of {w.mean_batch or 0:.1f} positions"
            for w in servers
        ]
        + [f"{clients} workers: {waiting:.0%} of their time in wait"],
        remedy=(
            "Evaluate inside the worker, in batches over many games at once; or let each worker "
            "send the leaves of all its games in one request through shared memory"
        ),
        gain=gains.faster(
            report,
            1 / max(1 - waiting, 0.01),
            "at most: the workers' time without their wait for answers",
        ),
    )


def precision_not_used(report: Report) -> Finding | None:
    """float32 where bfloat16 was measured to be faster and to agree."""
    unused = [
        t
        for t in report.throughput
        if t.dtype == "float32"
        and t.precision is not None
        and t.precision.agrees
        and t.precision.bfloat16_speedup >= PRECISION_GAIN
    ]
    if not unused:
        return None
    worst = unused[-1]
    assert worst.precision is not None
    speedup = worst.precision.bfloat16_speedup
    shares = stage_shares(arm_of(report, worst))
    network = shares.get("wait" if kind(worst.device) == "cuda" else "network", 1.0)
    if worst is asked(report):
        gain = gains.faster(
            report,
            1 / (1 - network + network / speedup),
            f"the network's share of the workers' time ({network:.0%}) {speedup:.2f} × as fast",
        )
    else:
        gain = gains.unknown(f"the plan is for {report.device}, not for {worst.device}")
    return Finding(
        name="precision-not-used",
        title=f"The network runs in float32; bfloat16 is {speedup:.1f} × as fast here",
        cause="The device has matrix units for bfloat16 that float32 leaves unused.",
        evidence=[
            f"{t.device}: played in float32; bfloat16 {t.precision.bfloat16_speedup:.2f} × as "
            f"fast, moves' probabilities within {t.precision.policy_difference:.1e}, "
            f"values within {t.precision.value_difference:.1e}"
            for t in unused
            if t.precision is not None
        ],
        remedy=f"Play in bfloat16{flag(report, '--dtype auto')}: network.to(torch.bfloat16)",
        gain=gain,
    )
