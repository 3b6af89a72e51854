"""Workers whose networks are on the CPU where another device was expected."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._threads import intra_op_words
from blobdiag.diagnosis.program import (
    CPU,
    CUDA,
    Expected,
    Family,
    Off,
    calling,
    expected,
    host_seconds,
    intra_op,
    network_calls,
    off_device,
    on,
    quoted,
    shortened,
    total,
)
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report

NOT_IN_A_STATE_DICT = (
    "A worker builds a new network, which is on the CPU, and load_state_dict copies the weights to "
    "where the new network is: a state dict does not carry the device."
)
FELL_BACK = (
    "A new network is on the CPU until it is moved. Either nothing moves it, or the program "
    "falls back to the CPU where torch.cuda.is_available() is False."
)
PASS_THE_DEVICE = "Pass device in the worker's arguments, and in the worker, after"


def _in_engine(report: Report) -> Seen | None:
    # `compare` has workers that belong on the CPU beside those that do not.
    workers = [w for w in report.workers if w.device_asked != CPU]
    lost = [w for w in workers if CPU in w.parameter_devices]
    if report.device == CPU or not lost:
        return None
    evidence = [f"worker {w.worker} (pid {w.pid}): parameters on cpu, {w.dtype}" for w in lost]
    evidence += [
        f"{c.name}: {c.observation}" for c in report.checks if c.name.endswith("GPU utilisation")
    ]
    return Seen(
        title=(
            f"{len(lost)} of {len(workers)} workers run their network on the CPU, "
            f"not on {report.device}"
        ),
        cause=(
            f"{NOT_IN_A_STATE_DICT} Training stays in the parent, so it uses the GPU and hides the "
            "fault."
        ),
        evidence=evidence,
        remedy=(
            f"{PASS_THE_DEVICE} network.load_state_dict(network_state), add: network.to(device); "
            "or build the network on the worker's device from the start"
        ),
        gain=gains.unknown(
            f"self-play on {report.device} was not measured; "
            "run blobdiag compare once the workers are on it"
        ),
    )


def _in_program(report: Report, program: Program) -> Seen | None:
    device = expected(report)
    off = [one for one in off_device(report) if on(CPU, one.calls)]
    if device is None or device.kind == CPU:
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
    return Seen(
        title=title,
        cause=(
            f"{NOT_IN_A_STATE_DICT} What the parent moves to the GPU stays in the parent."
            if workers
            else FELL_BACK
        ),
        evidence=[
            f"{device.kind} is expected: {device.because}",
            *shortened([_line(family, one) for one in lost]),
            *_parents(family, [one.process for one in lost]),
        ],
        remedy=_remedy(report, family, lost, device),
        gain=gains.unknown(f"these networks did not run on {device.kind}"),
    )


def _line(family: Family, off: Off) -> str:
    threads, seconds = intra_op(off.calls), host_seconds(off.calls)
    more = "" if threads is None else f", {intra_op_words(threads)}"
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
        text = f"{PASS_THE_DEVICE} network.load_state_dict(state), add: network.to(device)"
    else:
        text = f'After the network is built add: network = network.to("{device.kind}")'
    if device.kind == CUDA:
        text += "".join(f". {more}" for more in _obstacles(report, family, processes))
    if not device.asked:
        text += ". If the CPU is intended: blobdiag run --expect-device cpu"
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
        found.append("Their torch is a build without CUDA: install one with CUDA")
    if not report.gpus:
        found.append(f"On this machine no GPU was seen: {report.gpu_reason or 'reason unknown'}")
    return found


CAUSE = Cause(
    name="device-not-propagated",
    rank=10,
    summary="Worker processes run their network on the CPU where another device was expected",
    seen_as=(
        "parameters on the CPU in workers that were asked for another device; in a program, "
        "network calls on the CPU where `--expect-device`, the command's own options or a parent "
        "that holds a CUDA context expect another"
    ),
    in_engine=_in_engine,
    in_program=_in_program,
)
