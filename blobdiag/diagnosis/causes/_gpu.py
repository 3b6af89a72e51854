"""How busy a GPU is and with how much work: thresholds and lines that several causes share."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.expectations import EXPECTATIONS
from blobdiag.diagnosis.facts import bare_rate, bare_share, gpu_mean
from blobdiag.diagnosis.program import (
    CUDA,
    Family,
    calling,
    network_calls,
    on,
    quoted,
    shortened,
)
from blobdiag.model.device import Device
from blobdiag.model.judgement import Gain
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# docs/expectations.md#self-play-gpu and #bare-network-share.
BUSY_PERCENT = EXPECTATIONS["self-play-gpu"].low or 70.0
STARVED_SHARE = EXPECTATIONS["bare-network-share"].low or 0.35
# "A value less than 0.5 likely indicates ineffective GPU usage" (NVIDIA DCGM, SM activity);
# half of that, since a small network leaves most of a large GPU empty.
STARVED_SM_PERCENT = 25.0

CONTEXTS_TAKE_TURNS = (
    "Each process has its own CUDA context, and without MPS a GPU runs one context at a time: more "
    "processes add context switches, memory and smaller batches, not throughput."
)
ANY_KERNEL_COUNTS = (
    "Utilisation is the share of time in which any kernel ran, however small: a sequence of small "
    "kernels reads 100 % while most of the GPU is empty."
)


def on_cuda(report: Report) -> list[Throughput]:
    """The rates that were measured on a GPU."""
    return [t for t in report.throughput if Device.of(t.device).on_cuda]


def starved(report: Report, throughput: Throughput) -> bool:
    """Whether a GPU does a small part of what it could: by its rate, else by its SM activity."""
    share = bare_share(report, throughput)
    if share is not None:
        return share < STARVED_SHARE
    activity = gpu_mean(report, throughput, "sm_activity")
    return activity is not None and activity < STARVED_SM_PERCENT


def share_lines(report: Report, throughput: Throughput) -> list[str]:
    """The rate beside that of the network alone; no line where one is not known."""
    share, bare = bare_share(report, throughput), bare_rate(report, throughput)
    if share is None or bare is None:
        return []
    achieved = throughput.evaluations_per_second.value or 0.0
    return [
        f"{throughput.device}: {share:.2f} of the bare network "
        f"({achieved:,.0f} of {bare:,.0f} evals/s)"
    ]


def gain_of_full_gpu(report: Report, throughput: Throughput) -> Gain:
    """What a healthy engine reaches on this GPU."""
    bare = bare_rate(report, throughput)
    return gains.up_to_healthy(report, throughput, bare, "at its best")


def callers_on_gpu(program: Program) -> list[ProcessRecord]:
    """The processes of a program that call a network on a GPU."""
    return [p for p in calling(program) if on(CUDA, network_calls(p))]


def gpu_lines(program: Program, busy: float, activity: float) -> list[str]:
    """How busy the GPUs of a program are, in %, and which processes call networks there."""
    family = Family(program)
    callers = [
        f"{family.label(p)}: {quoted(on(CUDA, network_calls(p)))}" for p in callers_on_gpu(program)
    ]
    return [f"utilisation {busy:.0f} %, SM activity {activity:.0f} %", *shortened(callers)]
