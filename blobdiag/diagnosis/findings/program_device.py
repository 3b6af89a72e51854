"""A watched program's devices: where its networks are, and what shares a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.findings.gpu import (
    BUSY_PERCENT,
    MANY_CONTEXTS,
    SATURATED_PERCENT,
    STARVED_SM_PERCENT,
)
from blobdiag.diagnosis.program import (
    CPU,
    CUDA,
    Expected,
    Family,
    Off,
    calling,
    driver_listed,
    expected,
    gpu_level,
    gpus_used,
    host_seconds,
    intra_op,
    network_calls,
    off_device,
    on,
    quoted,
    shortened,
    total,
    uses_gpu,
)
from blobdiag.model.judgement import Finding
from blobdiag.model.machine import Gpu
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report

# A context takes 300 to 800 MiB of each process (docs of PyTorch and NVIDIA name no figure); so
# much of a card for contexts alone is what a batch could have had.
CONTEXTS_SHARE = 0.1
MIN_SHARING = 3


def device_not_propagated(report: Report) -> Finding | None:
    """Worker processes call their networks on the CPU while another device was expected."""
    program, device = report.program, expected(report)
    off = [one for one in off_device(report) if on(CPU, one.calls)]
    if program is None or device is None or device.kind == CPU:
        return None
    family = Family(program)
    workers = [one for one in off if family.is_worker(one.process)]
    computing = [p for p in calling(program) if family.is_worker(p)]
    if workers:
        title = (
            f"{len(workers)} of {len(computing)} worker processes run their network on the CPU, "
            f"not on {device.kind}"
        )
    elif off and not computing:
        title = f"The network runs on the CPU, not on {device.kind}"
    else:
        return None
    lost = workers or off
    return Finding(
        name="device-not-propagated",
        title=title,
        cause=_CAUSE_IN_WORKERS if workers else _CAUSE_IN_ONE,
        evidence=[
            f"{device.kind} is expected: {device.because}",
            *shortened([_line(family, one) for one in lost]),
            *_parents(family, [one.process for one in lost]),
        ],
        remedy=_remedy(report, family, lost, device),
        gain=gains.unknown(f"these networks did not run on {device.kind}"),
    )


_CAUSE_IN_WORKERS = (
    "A worker builds a network of its own, which lies on the CPU, and load_state_dict copies the "
    "weights to where the new network is: the device does not travel with a state dict. What the "
    "parent moves to the GPU stays in the parent."
)
_CAUSE_IN_ONE = (
    "A new network lies on the CPU until it is moved. Either nothing moves it, or the program "
    "falls back to the CPU where torch.cuda.is_available() is False."
)


def _line(family: Family, off: Off) -> str:
    threads, seconds = intra_op(off.calls), host_seconds(off.calls)
    more = "" if threads is None else f", {threads} intra-op threads"
    more += "" if seconds is None else f", {1e3 * seconds / total(off.calls):.2g} ms each"
    return f"{family.label(off.process)}: {quoted(off.calls)}{more}"


def _parents(family: Family, lost: Sequence[ProcessRecord]) -> list[str]:
    """What those above them do with their networks."""
    above = {id(p): p for process in lost for p in family.ancestors(process)}
    lines = []
    for parent in above.values():
        calls = network_calls(parent)
        said = quoted(calls) if calls else "calls no network"
        if parent.cuda_initialised:
            said += ", holds a CUDA context"
        if calls or parent.cuda_initialised or parent.instrumented:
            lines.append(f"{family.label(parent)}: {said}")
    return lines


def _remedy(report: Report, family: Family, lost: Sequence[Off], device: Expected) -> str:
    processes = [one.process for one in lost]
    if any(family.is_worker(p) for p in processes):
        text = (
            "Pass device in the worker's arguments, and in the worker, after "
            "network.load_state_dict(state), add: network.to(device)"
        )
    else:
        text = f'After the network is built add: network = network.to("{device.kind}")'
    if device.kind == CUDA:
        text += "".join(f". {more}" for more in _obstacles(report, family, processes))
    if not device.asked:
        text += ". Where the CPU is meant: blobdiag run --expect-device cpu"
    return text


def _obstacles(report: Report, family: Family, processes: Sequence[ProcessRecord]) -> list[str]:
    """What else keeps these processes from a GPU, each with its remedy."""
    found = []
    if any(
        p.start_method == "fork" and any(q.cuda_initialised for q in family.ancestors(p))
        for p in processes
    ):
        found.append(
            "A forked process cannot use its parent's CUDA: start workers with "
            'torch.multiprocessing.get_context("spawn")'
        )
    if any(
        p.cuda_visible_devices is not None and p.cuda_visible_devices.strip() in ("", "-1")
        for p in processes
    ):
        found.append("CUDA_VISIBLE_DEVICES hides every GPU from them: unset it for the workers")
    if any((p.torch or "").endswith("+cpu") for p in processes):
        found.append("Their torch is a build without CUDA: install one with it")
    if not report.gpus:
        found.append(f"On this machine no GPU was seen: {report.gpu_reason or 'why is not known'}")
    return found


def context_per_worker(report: Report) -> Finding | None:
    """Processes that hold a CUDA context for nothing, or whose contexts fill a card."""
    program = report.program
    if program is None:
        return None
    family = Family(program)
    idle = [p for p in program.processes if _holds_in_vain(family, p)]
    crowded = [(gpu, held) for gpu in _gpus(report) if (held := _contexts(report, gpu)) is not None]
    if not idle and not crowded:
        return None
    evidence = shortened(
        [
            f"{family.label(p)}: a CUDA context{_memory(report, p)}, {quoted(network_calls(p))}"
            for p in idle
        ]
    )
    for gpu, (holders, mib) in crowded:
        evidence.append(
            f"{gpu.name}: {len(holders)} contexts take {mib:,.0f} of {gpu.memory_mib:,.0f} MiB"
        )
        evidence += shortened([f"{family.label(p)}:{_memory(report, p)[1:]}" for p in holders])
    count = len(idle) or max(len(holders) for _, (holders, _) in crowded)
    return Finding(
        name="context-per-worker",
        title=(
            f"{count} worker process{'es hold' if count > 1 else ' holds'} a CUDA context in vain"
            if idle
            else f"{count} processes hold a CUDA context each on one GPU"
        ),
        cause=(
            "The first CUDA call of a process makes its context: hundreds of MiB of the card. A "
            "tensor that comes from the parent's GPU is such a call, and so is a network of one's "
            "own."
        ),
        evidence=evidence,
        remedy=(
            "Send CPU tensors to workers that compute on the CPU: state = {k: v.cpu() for k, v in "
            "network.state_dict().items()}"
            if idle
            else "Let one process a GPU evaluate for all, in batches over many games; or start "
            "fewer workers, each with more games"
        ),
        gain=gains.unknown("it costs memory of the card, and time only where that is missing"),
    )


def _holds_in_vain(family: Family, process: ProcessRecord) -> bool:
    """Whether a worker calls its networks on the CPU alone, a context beside it."""
    calls = network_calls(process)
    return bool(
        process.cuda_initialised
        and calls
        and len(on(CPU, calls)) == len(calls)
        and family.is_worker(process)
    )


def _contexts(report: Report, gpu: Gpu) -> tuple[list[ProcessRecord], float] | None:
    """(processes on a GPU, MiB of their contexts) where those are many and take much of it.

    A context is what the driver lists of a process beside what torch has reserved in it.
    """
    held = [
        (p, listed - p.gpu_memory_mib)
        for p in (report.program.processes if report.program else [])
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


def _gpus(report: Report) -> list[Gpu]:
    used = set(gpus_used(report))
    return [gpu for gpu in report.gpus if gpu.uuid in used]


def too_many_workers(report: Report) -> Finding | None:
    """Processes that share one GPU take turns, and spend them on changing turns."""
    program = report.program
    if program is None:
        return None
    on_gpu = [p for p in calling(program) if on(CUDA, network_calls(p))]
    gpus = gpus_used(report)
    busy, activity = gpu_level(report, "utilization"), gpu_level(report, "sm_activity")
    each = len(on_gpu) / max(1, len(gpus))
    saturated = busy is not None and busy >= SATURATED_PERCENT
    starved = activity is not None and activity < STARVED_SM_PERCENT
    if each <= MANY_CONTEXTS or not (saturated and starved):
        return None
    return Finding(
        name="too-many-workers",
        title=f"{each:.0f} processes share a GPU and hold each other up",
        cause=(
            "Each process has its own CUDA context, and without MPS a GPU runs one context at a "
            "time: more workers add switches, memory and smaller batches, not work done."
        ),
        evidence=[
            f"utilisation {busy:.0f} %, SM activity {activity:.0f} %",
            *_on_gpu_lines(program, on_gpu),
        ],
        remedy=(
            "Start one worker a GPU, with more games in progress and their leaves in one batch: "
            "network(torch.stack(leaves))"
        ),
        gain=gains.unknown("the program was not measured with fewer workers"),
    )


def _on_gpu_lines(program: Program, on_gpu: Sequence[ProcessRecord]) -> list[str]:
    family = Family(program)
    return shortened([f"{family.label(p)}: {quoted(on(CUDA, network_calls(p)))}" for p in on_gpu])


def busy_but_starved(report: Report) -> Finding | None:
    """Utilisation is high, yet few of the GPU's processors have work."""
    program = report.program
    busy, activity = gpu_level(report, "utilization"), gpu_level(report, "sm_activity")
    if program is None or busy is None or activity is None or not uses_gpu(program):
        return None
    if busy < BUSY_PERCENT or activity >= STARVED_SM_PERCENT:
        return None
    on_gpu = [p for p in calling(program) if on(CUDA, network_calls(p))]
    return Finding(
        name="busy-but-starved",
        title=f"The GPU is {busy:.0f} % busy with very little work",
        cause=(
            "Utilisation counts the time in which any kernel ran, however small: one launch after "
            "the other reads 100 % while nearly all of the GPU stands empty."
        ),
        evidence=[
            f"utilisation {busy:.0f} %, SM activity {activity:.0f} %",
            *_on_gpu_lines(program, on_gpu),
        ],
        remedy="Give each call the leaves of many games: network(torch.stack(leaves))",
        gain=gains.unknown("the network alone was not measured"),
    )
