"""Networks that are called with gradients, or in training mode, where nothing is trained."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._calls import MIN_CALLS
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.facts import arms
from blobdiag.diagnosis.program import (
    Family,
    calling,
    marks_no_training,
    network_calls,
    shortened,
    total,
    training,
)
from blobdiag.model.program import ModuleCalls, ProcessRecord, Program
from blobdiag.model.report import Report

# Of a process's calls: a short pass in another mode is not how it plays.
MAIN_SHARE = 0.5
# A trainer's batches are so many times those of a worker that plays.
TRAINER_BATCH = 4.0

GRAPHS_AND_DROPOUT = (
    "In training mode dropout stays active, so evaluations are random; with gradients "
    "every evaluation builds a graph that costs time and memory and is thrown away."
)
GRADIENTS = "gradients are recorded"
TRAIN_MODE = "in training mode"


def _in_engine(report: Report) -> Seen | None:
    evidence = []
    for worker in (worker for arm in arms(report) for worker in arm):
        seen = [GRADIENTS] if worker.grad_enabled else []
        seen += [f"the network is {TRAIN_MODE}"] if worker.train_mode else []
        if seen:
            evidence.append(f"worker {worker.worker} (pid {worker.pid}): {' and '.join(seen)}")
    if not evidence:
        return None
    return Seen(
        title=_title(len(evidence), "worker"),
        cause=GRAPHS_AND_DROPOUT,
        evidence=evidence,
        remedy="Call network.eval() once, and the network under torch.inference_mode()",
        gain=gains.unknown("the network was not measured without gradients in this run"),
    )


def _in_program(report: Report, program: Program) -> Seen | None:
    family, evidence = Family(program), []
    modes: set[str] = set()
    for process in calling(program):
        calls = network_calls(process)
        wrong = [c for c in calls if _in_wrong_mode(report, family, process, c)]
        if total(wrong) < max(MIN_CALLS, MAIN_SHARE * total(calls)):
            continue
        seen = [GRADIENTS] if any(c.grad_enabled for c in wrong) else []
        seen += [TRAIN_MODE] if any(c.train_mode for c in wrong) else []
        modes |= set(seen)
        most = max(wrong, key=lambda c: c.calls)
        evidence.append(
            f"{family.label(process)}: {most.module}, {most.calls:,} calls, {' and '.join(seen)}"
        )
    if not evidence:
        return None
    remedies = {
        TRAIN_MODE: "network.eval() once, after it is built",
        GRADIENTS: "with torch.inference_mode(): around these calls",
    }
    return Seen(
        title=_title(len(evidence), "process"),
        cause=GRAPHS_AND_DROPOUT,
        evidence=shortened(evidence),
        remedy="; ".join(remedy for mode, remedy in remedies.items() if mode in modes),
        gain=gains.unknown("the network was not measured in the other mode"),
    )


def _title(number: int, what: str) -> str:
    if number == 1:
        return f"1 {what} calls its network as for training"
    plural = {"worker": "workers", "process": "processes"}[what]
    return f"{number} {plural} call their network as for training"


def _in_wrong_mode(report: Report, family: Family, process: ProcessRecord, c: ModuleCalls) -> bool:
    """Whether calls are made in a mode that only training needs, and do not train.

    Calls in training mode without gradients never train. Calls with gradients do not train in a
    worker whose network is in evaluation mode, that counts games, or whose parent trains in batches
    several times as large; nor in any process of a program that marks self-play and no training.
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


CAUSE = Cause(
    name="train-mode-in-self-play",
    rank=140,
    summary="Networks are called with gradients, or in training mode, where nothing is trained",
    seen_as=(
        "gradients or training mode in an engine's self-play; in a program, in most calls of a "
        "process: training mode without gradients, or gradients in a worker whose network is in "
        "evaluation mode, that counts games or whose parent trains, or where self-play is marked "
        "and no training"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
