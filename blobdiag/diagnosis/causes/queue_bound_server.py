"""Workers that wait for one process that calls the network for all, a few rows at a time."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._calls import MIN_CALLS, ONE_CALL, TINY_ROWS_CUDA
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._threads import WAITING_SHARE
from blobdiag.diagnosis.facts import arms, stage_shares
from blobdiag.diagnosis.program import (
    Family,
    calling,
    cpu_percent,
    inference,
    life,
    network_calls,
    overlap,
    shortened,
    threads_inside,
)
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report

# What a client of a server computes, in % of a core, if it mostly waits; one that computes next
# to nothing is no client but a helper.
CLIENT_PERCENT = (2.0, 50.0)
MIN_CLIENTS = 2
# Of a server's time: one that is in its network for more of it is limited by that, and not by its
# queue. A server of batches of 12 behind two queues was for 0.56 of its serving.
SERVER_SHARE = 0.75

QUEUE_TAKES_LONGER = (
    "Each request goes through a queue, pickled, to one process, and its sender waits for the "
    "answer: the queue takes longer than the network, and batches never fill."
)


def _in_engine(report: Report) -> Seen | None:
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
    return Seen(
        title=f"{clients} workers wait {waiting:.0%} of their time for an inference server",
        cause=QUEUE_TAKES_LONGER,
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


def _in_program(report: Report, program: Program) -> Seen | None:
    callers = [p for p in calling(program) if inference(network_calls(p))]
    if len(callers) != 1:
        return None
    [server] = callers
    busiest, inside = inference(network_calls(server))[0], threads_inside(report, server)
    clients, rows = _clients(report, program, server), busiest.mean_batch
    if rows is None or inside is None or rows > TINY_ROWS_CUDA or inside > SERVER_SHARE:
        return None
    if len(clients) < MIN_CLIENTS or busiest.calls < MIN_CALLS:
        return None
    family = Family(program)
    return Seen(
        title=f"{len(clients)} processes wait for one that evaluates {rows:.1f} rows at a time",
        cause=QUEUE_TAKES_LONGER,
        evidence=[
            f"{family.label(server)}: {busiest.module} on {busiest.parameter_device}, "
            f"{busiest.calls:,} calls of {rows:.1f} rows, {inside:.0%} of its time in them",
            *shortened(
                [f"{family.label(p)}: {used:.0f} % of a core, no calls" for p, used in clients]
            ),
        ],
        remedy=(
            f"Call the network in the processes that need it, with many rows: {ONE_CALL}; or send "
            "many rows in one request, through tensor.share_memory_()"
        ),
        gain=gains.unknown("how long the senders wait cannot be seen from outside"),
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


CAUSE = Cause(
    name="queue-bound-server",
    rank=60,
    summary="Workers wait for one process that calls the network for all, a few rows at a time",
    seen_as=(
        f"one process that calls networks, {TINY_ROWS_CUDA:g} rows or fewer at a time, beside "
        f"workers that wait {100 * WAITING_SHARE:.0f} % of their time or, in a program, use "
        f"{CLIENT_PERCENT[0]:g} to {CLIENT_PERCENT[1]:g} % of a core each"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
