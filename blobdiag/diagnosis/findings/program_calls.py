"""How a watched program calls its networks: rows of a call, who waits for it, in which mode."""

from __future__ import annotations

from typing import NamedTuple

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.facts import kind
from blobdiag.diagnosis.findings.gpu import STARVED_SM_PERCENT
from blobdiag.diagnosis.findings.host import COSTLY
from blobdiag.diagnosis.findings.network import SMALL_ROWS, TINY_ROWS_CUDA
from blobdiag.diagnosis.program import (
    CPU,
    CUDA,
    Family,
    calling,
    cpu_percent,
    expected,
    gpu_level,
    inference,
    life,
    marks_no_training,
    network_calls,
    overlap,
    shortened,
    threads_inside,
    total,
    training,
)
from blobdiag.model.figures import figure
from blobdiag.model.judgement import Finding, Gain
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.report import Report

# Fewer calls are a try, or an evaluation, and not what a program spends its time on.
MIN_CALLS = 1_000
# On a CPU the loss must be seen: the same network, in this run, in batches so many times as large,
# whose rows took so many times less of the cores. Processes that disturb each other account for
# a factor of two.
LARGER_BATCH = 8.0
TINY_LOSS = 3.0
# What a client of a server computes, in % of a core, if it mostly waits; one that computes next
# to nothing is no client but a helper.
CLIENT_PERCENT = (2.0, 50.0)
MIN_CLIENTS = 2
# Of a server's time: one that is in its network for more of it is held up by that, and not by its
# queue. A server of batches of 12 behind two queues was for 0.56 of its serving.
SERVER_SHARE = 0.75
# Of a process's calls: a pass in another mode that is over soon is not how it plays.
MAIN_SHARE = 0.5
# A trainer's batches are so many times those of a worker that plays.
TRAINER_BATCH = 4.0


class Group(NamedTuple):
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


def tiny_batches(report: Report) -> Finding | None:
    """Batches too small for the device: each costs a call and does hardly any work."""
    program = report.program
    groups = [] if program is None else _groups(program)
    busiest = max(groups, key=lambda group: group.number, default=None)
    if program is None or busiest is None or busiest.number < MIN_CALLS:
        return None
    rows, gain = busiest.mean_batch, gains.unknown("its calls were not measured with many rows")
    loss = _loss(program, busiest)
    if rows is None:
        return None
    if _meant_for_cuda(report, busiest):
        activity = gpu_level(report, "sm_activity")
        tiny = rows <= TINY_ROWS_CUDA and (activity is None or activity < STARVED_SM_PERCENT)
    else:
        gain = _gain_of_large(report, busiest, loss)
        tiny = rows <= SMALL_ROWS.get(busiest.device, 0.0) and (gain.self_play_factor or 1) > COSTLY
    if not tiny:
        return None
    family = Family(program)
    evidence = shortened(
        [
            f"{family.label(p)}: {c.module} on {c.parameter_device}, {c.calls:,} calls of "
            f"{c.mean_batch or 0:,.1f} rows{_common(c)}"
            for p, c in busiest.calls
        ]
    )
    if loss is not None:
        evidence.append(loss.text)
    return Finding(
        name="tiny-batches",
        title=f"{busiest.module} is given {rows:.1f} rows at a time",
        cause=(
            "Each search evaluates its own leaf: a call costs about the same for many more rows, "
            "most of all on a GPU."
        ),
        evidence=evidence,
        remedy=(
            "Keep many games in progress in a worker and evaluate their leaves in one call: "
            "network(torch.stack(leaves))"
        ),
        gain=gain,
    )


def _meant_for_cuda(report: Report, group: Group) -> bool:
    device = expected(report)
    return group.device == CUDA or (device is not None and device.kind == CUDA)


def _groups(program: Program) -> list[Group]:
    by_key: dict[tuple[str, str, str], list[tuple[ProcessRecord, ModuleCalls]]] = {}
    for process in calling(program):
        for c in inference(network_calls(process)):
            key = (c.module, kind(c.parameter_device), c.dtype)
            by_key.setdefault(key, []).append((process, c))
    return [Group(*key, calls) for key, calls in by_key.items()]


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


def _loss(program: Program, small: Group) -> Loss | None:
    """None where the network was not called with many more rows on the same kind of device."""
    rows, costs = small.mean_batch, [cost for _, c in small.calls if (cost := _row_cost(c))]
    if rows is None or not costs:
        return None
    large = [
        (c, cost)
        for process in calling(program)
        for c in network_calls(process)
        if (c.module, kind(c.parameter_device), c.dtype) == small[:3]
        and (c.mean_batch or 0.0) >= LARGER_BATCH * rows
        and (cost := _row_cost(c))
    ]
    if small.device != CPU or not large:
        return None
    best, cost = min(large, key=lambda pair: pair[1])
    factor = min(costs) / cost
    if factor < TINY_LOSS:
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


def _gain_of_large(report: Report, small: Group, loss: Loss | None) -> Gain:
    process, _ = max(small.calls, key=lambda pair: pair[1].calls)
    inside = threads_inside(report, process)
    if loss is None or inside is None:
        return gains.unknown("its calls were not measured with many rows")
    share = min(inside, 1.0)
    return gains.faster(
        report,
        1 / (1 - share + share / loss.factor),
        f"at most: {share:.0%} of the time of pid {process.pid} is in these calls, whose rows "
        f"would take {loss.factor:.1f} × less",
    )


def queue_bound_server(report: Report) -> Finding | None:
    """One process evaluates for others, which wait for it, and it never sees many at once."""
    program = report.program
    callers = (
        [] if program is None else [p for p in calling(program) if inference(network_calls(p))]
    )
    if program is None or len(callers) != 1:
        return None
    [server] = callers
    calls = inference(network_calls(server))
    busiest, inside = calls[0], threads_inside(report, server)
    family = Family(program)
    clients = _clients(report, program, server)
    rows = busiest.mean_batch
    bound = (
        len(clients) >= MIN_CLIENTS
        and busiest.calls >= MIN_CALLS
        and rows is not None
        and rows <= TINY_ROWS_CUDA
        and inside is not None
        and inside <= SERVER_SHARE
    )
    if not bound or rows is None or inside is None:
        return None
    return Finding(
        name="queue-bound-server",
        title=f"{len(clients)} processes wait for one that evaluates {rows:.1f} rows at a time",
        cause=(
            "Each request goes through a queue, pickled, to one process, and its sender waits for "
            "the answer: the queue takes longer than the network, and batches never fill."
        ),
        evidence=[
            f"{family.label(server)}: {busiest.module} on {busiest.parameter_device}, "
            f"{busiest.calls:,} calls of {rows:.1f} rows, {inside:.0%} of its time in them",
            *shortened(
                [f"{family.label(p)}: {used:.0f} % of a core, no calls" for p, used in clients]
            ),
        ],
        remedy=(
            "Evaluate in the process that searches, over many games at once: "
            "network(torch.stack(leaves)); or send the leaves of all its games in one request, "
            "through tensor.share_memory_()"
        ),
        gain=gains.unknown("how long the senders wait is not seen from outside"),
    )


def _clients(
    report: Report, program: Program, server: ProcessRecord
) -> list[tuple[ProcessRecord, float]]:
    """(process, % of a core) of those beside a server that compute, but mostly wait."""
    family, (start, end), (low, high) = Family(program), life(report, server), CLIENT_PERCENT
    relatives = [server, *family.ancestors(server)]
    return [
        (p, used)
        for p in program.processes
        if p is not server
        and p.python is not None
        and not network_calls(p)
        and overlap(report, p, server) >= (end - start) / 2
        and (used := cpu_percent(report, p)) is not None
        and low <= used <= high
        and any(q is relative for q in family.ancestors(p) for relative in relatives)
    ]


def train_mode_in_self_play(report: Report) -> Finding | None:
    """Networks are called with gradients or in training mode where they cannot be training."""
    program = report.program
    if program is None:
        return None
    family, evidence = Family(program), []
    modes: set[str] = set()
    for process in calling(program):
        calls = network_calls(process)
        wrong = [c for c in calls if _for_nothing(report, family, process, c)]
        if total(wrong) < max(MIN_CALLS, MAIN_SHARE * total(calls)):
            continue
        seen = ["gradients are recorded"] if any(c.grad_enabled for c in wrong) else []
        seen += ["in training mode"] if any(c.train_mode for c in wrong) else []
        modes |= set(seen)
        most = max(wrong, key=lambda c: c.calls)
        evidence.append(
            f"{family.label(process)}: {most.module}, {most.calls:,} calls, {' and '.join(seen)}"
        )
    if not evidence:
        return None
    with_modes = [
        line
        for mode, line in (
            ("in training mode", "network.eval() once, after it is built"),
            ("gradients are recorded", "with torch.inference_mode(): around the search"),
        )
        if mode in modes
    ]
    return Finding(
        name="train-mode-in-self-play",
        title=(
            "1 process calls its network as for training"
            if len(evidence) == 1
            else f"{len(evidence)} processes call their network as for training"
        ),
        cause=(
            "In training mode dropout stays active, so evaluations are random; with gradients "
            "every evaluation builds a graph that costs time and memory and is thrown away."
        ),
        evidence=shortened(evidence),
        remedy="; ".join(with_modes),
        gain=gains.unknown("the network was not measured in the other mode"),
    )


def _for_nothing(report: Report, family: Family, process: ProcessRecord, c: ModuleCalls) -> bool:
    """Whether calls are made in a mode that only training needs, and are none.

    In training mode without gradients nobody trains. With gradients a worker does not, where its
    network is in evaluation mode, where it counts games, or where the process above it trains in
    batches several times as large; nor does any process of a program that marks self-play and no
    training.
    """
    if not c.grad_enabled:
        return c.train_mode
    if marks_no_training(report):
        return True
    if not family.is_worker(process):
        return False
    return (
        not c.train_mode
        or bool(process.progress.get("games"))
        or _trains_above(family, process, c.mean_batch)
    )


def _trains_above(family: Family, process: ProcessRecord, rows: float | None) -> bool:
    least = None if rows is None else TRAINER_BATCH * rows
    trainers = [c for p in family.ancestors(process) for c in training(network_calls(p))]
    return any(least is not None and (c.mean_batch or 0.0) >= least for c in trainers)
