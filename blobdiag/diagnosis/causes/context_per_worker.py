"""CUDA contexts that are not used, or that fill a GPU's memory."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.program import (
    CPU,
    Family,
    driver_listed,
    gpus_used,
    network_calls,
    on,
    quoted,
    shortened,
)
from blobdiag.model.machine import Gpu
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report

# A context takes 300 to 800 MiB of each process (docs of PyTorch and NVIDIA name no figure); so
# much of a card for contexts alone is what a batch could have had.
CONTEXTS_SHARE = 0.1
MIN_SHARING = 3


def _in_program(report: Report, program: Program) -> Seen | None:
    family = Family(program)
    unused = [p for p in program.processes if _does_not_use_its(family, p)]
    crowded = [
        (gpu, found)
        for gpu in report.gpus
        if gpu.uuid in gpus_used(report) and (found := _contexts(report, program, gpu)) is not None
    ]
    if not unused and not crowded:
        return None
    evidence = shortened(
        [
            f"{family.label(p)}: a CUDA context{_memory(report, p)}, {quoted(network_calls(p))}"
            for p in unused
        ]
    )
    for gpu, (processes, mib) in crowded:
        evidence.append(
            f"{gpu.name}: {len(processes)} contexts take {mib:,.0f} of {gpu.memory_mib:,.0f} MiB"
        )
        evidence += shortened([f"{family.label(p)}:{_memory(report, p)[1:]}" for p in processes])
    if unused:
        title = (
            "1 worker process holds a CUDA context that it does not use"
            if len(unused) == 1
            else f"{len(unused)} worker processes hold a CUDA context that they do not use"
        )
    else:
        most = max(len(processes) for _, (processes, _) in crowded)
        title = f"{most} processes hold a CUDA context each on one GPU"
    return Seen(
        title=title,
        cause=(
            "The first CUDA call of a process creates its context: hundreds of MiB of the GPU. "
            "Receiving a tensor from the parent's GPU is such a call, and so is creating a network "
            "there."
        ),
        evidence=evidence,
        remedy=(
            "Send CPU tensors to workers that compute on the CPU: state = {k: v.cpu() for k, v in "
            "network.state_dict().items()}"
            if unused
            else "Let one process a GPU call the network for all, many rows a call; or start fewer "
            "workers"
        ),
        gain=gains.unknown("it costs memory of the card, and time only where that is missing"),
    )


def _does_not_use_its(family: Family, process: ProcessRecord) -> bool:
    """Whether a worker calls its networks on the CPU alone, beside a context."""
    calls = network_calls(process)
    return bool(
        process.cuda_initialised
        and calls
        and len(on(CPU, calls)) == len(calls)
        and family.is_worker(process)
    )


def _contexts(
    report: Report, program: Program, gpu: Gpu
) -> tuple[list[ProcessRecord], float] | None:
    """(processes on a GPU, MiB of their contexts) where those are many and take much of it.

    A context is what the driver lists of a process beside what torch has reserved in it.
    """
    held = [
        (p, listed - p.gpu_memory_mib)
        for p in program.processes
        if (listed := driver_listed(report, p, gpu.uuid)) is not None
        and p.gpu_memory_mib is not None
    ]
    mib = sum(max(0.0, beside) for _, beside in held)
    if len(held) < MIN_SHARING or not gpu.memory_mib or mib < CONTEXTS_SHARE * gpu.memory_mib:
        return None
    return [p for p, _ in held], mib


def _memory(report: Report, process: ProcessRecord) -> str:
    listed, own = driver_listed(report, process), process.gpu_memory_mib
    said = [] if listed is None else [f"{listed:,.0f} MiB of the GPU by the driver"]
    said += [] if own is None else [f"{own:,.0f} MiB reserved by torch"]
    return f", {', '.join(said)}" if said else ", its memory is not known"


CAUSE = Cause(
    name="context-per-worker",
    rank=45,
    summary="CUDA contexts of worker processes are not used, or fill the GPU's memory",
    seen_as=(
        "a worker that holds a CUDA context and calls its networks on the CPU; or "
        f"{MIN_SHARING} contexts or more that take {100 * CONTEXTS_SHARE:.0f} % of a GPU's memory"
    ),
    in_program=_in_program,
)
