"""Batches too small for the device: each costs a call and does hardly any work."""

from __future__ import annotations

from typing import NamedTuple

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._calls import MIN_CALLS, ONE_CALL, TINY_ROWS_CUDA
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._gpu import STARVED_SM_PERCENT
from blobdiag.diagnosis.causes._options import options
from blobdiag.diagnosis.causes._threads import COSTLY
from blobdiag.diagnosis.facts import rate_at
from blobdiag.diagnosis.program import (
    CPU,
    CUDA,
    Family,
    calling,
    expected,
    gpu_level,
    inference,
    network_calls,
    shortened,
    threads_inside,
    total,
)
from blobdiag.model.device import Device
from blobdiag.model.figures import figure
from blobdiag.model.judgement import Gain
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.report import Report
from blobdiag.model.selfplay import NetworkRate, Throughput

# Where the loss is measured: a batch of up to so many rows is small; a healthy one has about 190 on
# a core and thousands on a GPU.
SMALL_ROWS = {"cpu": 48.0, "cuda": 512.0}
# An engine's network alone must be so much faster in large batches: above what a neighbour on the
# machine does to one of two measurements that are taken in turn.
LOSS_IN_ENGINE = 1.5
# A program's rows must take so many times less of the cores in batches so many times as large, in
# the same run. Processes that disturb each other account for a factor of two.
LOSS_IN_PROGRAM = 3.0
LARGER_BATCH = 8.0

NOT_MEASURED = "its calls were not measured with many rows"


def _in_engine(report: Report) -> Seen | None:
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
    return Seen(
        title=f"The network is called with {worst.mean_batch:.1f} positions at a time",
        cause=(
            "Each worker evaluates its own few leaves: a call costs about the same for many more."
        ),
        evidence=evidence,
        remedy=(
            "Keep more games in progress and evaluate their leaves together: fewer workers with "
            f"more games each{options(report, '--workers', '--lanes')}, and enough games for them"
        ),
        gain=_gain_in_engine(report, worst),
    )


def _is_tiny(throughput: Throughput) -> bool:
    if throughput.mean_batch is None:
        return False
    measured = _small_and_large(throughput)
    device = Device.of(throughput.device)
    if measured is None:
        return device.on_cuda and throughput.mean_batch <= TINY_ROWS_CUDA
    small, large = measured
    return (
        throughput.mean_batch <= SMALL_ROWS.get(device.kind, 0.0)
        and large.evaluations_per_second >= LOSS_IN_ENGINE * small.evaluations_per_second
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


def _gain_in_engine(report: Report, throughput: Throughput) -> Gain:
    measured = _small_and_large(throughput)
    if measured is None:
        return gains.unknown("the network alone was not measured at this batch size and a large")
    large = measured[1]
    bare, what = large.evaluations_per_second, f"in batches of {large.rows:,}"
    return gains.up_to_healthy(report, throughput, bare, what)


class CallGroup(NamedTuple):
    """Calls of one class on one kind of device in one type, by whatever process."""

    module: str
    device: str
    dtype: str
    calls: list[tuple[ProcessRecord, ModuleCalls]]

    @property
    def number(self) -> int:
        return total([c for _, c in self.calls])

    @property
    def mean_batch(self) -> float | None:
        """None where a call's rows are not known."""
        rows = [c.rows for _, c in self.calls]
        known = sum(r for r in rows if r is not None)
        return None if None in rows or not known else known / self.number


def _in_program(report: Report, program: Program) -> Seen | None:
    busiest = max(_groups(program), key=lambda group: group.number, default=None)
    rows = busiest.mean_batch if busiest else None
    if busiest is None or busiest.number < MIN_CALLS or rows is None:
        return None
    loss, gain = _loss(program, busiest), gains.unknown(NOT_MEASURED)
    if _meant_for_cuda(report, busiest):
        activity = gpu_level(report, "sm_activity")
        tiny = rows <= TINY_ROWS_CUDA and (activity is None or activity < STARVED_SM_PERCENT)
    else:
        gain = _gain_in_program(report, busiest, loss)
        tiny = rows <= SMALL_ROWS.get(busiest.device, 0.0) and (gain.self_play_factor or 1) > COSTLY
    if not tiny:
        return None
    family = Family(program)
    lines = [
        f"{family.label(p)}: {c.module} on {c.parameter_device}, {c.calls:,} calls of "
        f"{c.mean_batch or 0:,.1f} rows{_common(c)}"
        for p, c in busiest.calls
    ]
    return Seen(
        title=f"{busiest.module} is called with {rows:.1f} rows at a time",
        cause="A call costs about the same for many more rows, most of all on a GPU.",
        evidence=shortened(lines) + ([] if loss is None else [loss.text]),
        remedy=f"Collect the inputs of many calls and pass them in one: {ONE_CALL}",
        gain=gain,
    )


def _meant_for_cuda(report: Report, group: CallGroup) -> bool:
    device = expected(report)
    return group.device == CUDA or (device is not None and device.kind == CUDA)


def _groups(program: Program) -> list[CallGroup]:
    by_key: dict[tuple[str, str, str], list[tuple[ProcessRecord, ModuleCalls]]] = {}
    for process in calling(program):
        for c in inference(network_calls(process)):
            by_key.setdefault(_key(c), []).append((process, c))
    return [CallGroup(*key, calls) for key, calls in by_key.items()]


def _key(c: ModuleCalls) -> tuple[str, str, str]:
    return c.module, Device.of(c.parameter_device).kind, c.dtype


def _common(c: ModuleCalls) -> str:
    """The batch that most calls had."""
    if not c.batch_histogram:
        return ""
    rows, calls = max(c.batch_histogram.items(), key=lambda item: item[1])
    return f", {calls / c.calls:.0%} of up to {rows:,}"


class Loss(NamedTuple):
    """What small batches cost a row, measured within the run."""

    factor: float
    """Core seconds a row ÷ those in large batches."""
    text: str


def _loss(program: Program, small: CallGroup) -> Loss | None:
    """None where the network was not called with many more rows on the same kind of device."""
    rows, costs = small.mean_batch, [cost for _, c in small.calls if (cost := _row_cost(c))]
    if rows is None or not costs:
        return None
    large = [
        (c, cost)
        for process in calling(program)
        for c in network_calls(process)
        if _key(c) == small[:3]
        and (c.mean_batch or 0.0) >= LARGER_BATCH * rows
        and (cost := _row_cost(c))
    ]
    if small.device != CPU or not large:
        return None
    best, cost = min(large, key=lambda pair: pair[1])
    factor = min(costs) / cost
    if factor < LOSS_IN_PROGRAM:
        return None
    text = (
        f"a row takes {figure(1e6 * min(costs))} µs of a core in these calls, "
        f"{figure(1e6 * cost)} µs "
        f"in calls of {best.mean_batch:,.0f} rows in the same run"
    )
    return Loss(factor, text)


def _row_cost(c: ModuleCalls) -> float | None:
    """Core seconds a row; None where time, rows or threads are not known."""
    if not (c.timed_calls and c.mean_batch and c.intra_op_threads):
        return None
    return c.host_seconds / c.timed_calls / c.mean_batch * c.intra_op_threads


def _gain_in_program(report: Report, small: CallGroup, loss: Loss | None) -> Gain:
    process, _ = max(small.calls, key=lambda pair: pair[1].calls)
    inside = threads_inside(report, process)
    if loss is None or inside is None:
        return gains.unknown(NOT_MEASURED)
    share = min(inside, 1.0)
    return gains.faster(
        report,
        1 / (1 - share + share / loss.factor),
        f"at most: {share:.0%} of the time of pid {process.pid} is in these calls, whose rows "
        f"would take {loss.factor:.1f} × less",
    )


CAUSE = Cause(
    name="tiny-batches",
    rank=30,
    summary="Batches too small for the device: each call does hardly any work",
    seen_as=(
        f"a mean batch of {TINY_ROWS_CUDA:g} rows or fewer on a GPU whose processors are mostly "
        f"idle; else a small batch ({SMALL_ROWS['cpu']:g} rows on a CPU, {SMALL_ROWS['cuda']:g} on "
        "a GPU) where the same network was measured to be at least "
        f"{LOSS_IN_ENGINE:g} × as fast in large ones ({LOSS_IN_PROGRAM:g} × in a program)"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
