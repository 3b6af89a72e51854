"""Check that a watched program calls its networks on the expected device."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.program import (
    CPU,
    CUDA,
    Expected,
    Family,
    Off,
    calling,
    computes,
    driver_listed,
    expected,
    gpu_level,
    is_python,
    network_calls,
    numbered,
    off_device,
    on,
    quoted,
    shortened,
    total,
)
from blobdiag.model.base import Role, Status
from blobdiag.model.judgement import Check, Validity
from blobdiag.model.program import ProcessRecord, Program
from blobdiag.model.report import Report

DEVICE_CHECK = "forwards on the device"
SOURCE = "docs/expectations.md#forwards-on-the-device"
# Fewer calls may all be trial calls.
MIN_CALLS = 10
# Importing torch takes more CPU time: a process that used less can be ignored.
LEAST_CPU_SECONDS = 0.5
ONLY = "no call could be counted; judged by libraries, the driver's files and the GPU"


def forwards(report: Report, program: Program) -> Check:
    """Judge by the calls that the processes counted, else by what Linux and the driver show."""
    device = expected(report)
    if device is None:
        return _without_expectation(report)
    family = Family(program)
    callers, off, silent = calling(program), off_device(report), _not_counted(program)
    calls = total([c for p in callers for c in network_calls(p)])
    if off:
        where = sorted({c.parameter_device for one in off for c in one.calls})
        seen = f"{len(off)} of {numbered(len(callers))} called networks on {', '.join(where)}"
        return _device(
            device, Status.FAIL, seen, shortened([_off(family, one) for one in off]), calls
        )
    if silent:
        seen = f"{numbered(len(silent))} with torch not counted to the end"
        evidence = shortened([f"{family.label(p)}: {p.reason or _left_out(p)}" for p in silent])
        return _device(device, Status.INCONCLUSIVE, seen, [*evidence, *_rest(program)])
    if not callers:
        return _from_outside(report, program, device)
    stray = calls - total([c for p in callers for c in on(device.kind, network_calls(p))])
    but = f", except {stray:,} trial calls" if stray else ""
    seen = f"{calls:,} calls of {numbered(len(callers))} on {device.kind}{but}"
    return _device(device, Status.PASS, seen, _rest(program), calls)


def _without_expectation(report: Report) -> Check:
    if report.gpus:
        seen = "the expected device is unknown: give --expect-device cuda, or cpu"
        return _device(None, Status.INCONCLUSIVE, seen)
    why = f": {report.gpu_reason}" if report.gpu_reason else ""
    seen = f"no device was asked for, and no GPU was seen{why}"
    return _device(None, Status.NOT_APPLICABLE, seen)


def _not_counted(program: Program) -> list[ProcessRecord]:
    """Python processes with torch in which calls may have been missed."""
    return [
        p
        for p in program.processes
        if is_python(p)
        and ("torch" in p.libraries or p.torch is not None)
        and (not p.instrumented or p.reason is not None or p.modules_left_out)
        and (p.cpu_seconds is None or p.cpu_seconds >= LEAST_CPU_SECONDS)
    ]


def _left_out(process: ProcessRecord) -> str:
    if process.modules_left_out:
        return f"{process.modules_left_out:,} calls not counted: too many kinds of calls"
    return "reason unknown"


def _off(family: Family, off: Off) -> str:
    return f"{family.label(off.process)}: {quoted(off.calls)}"


def _rest(program: Program) -> list[str]:
    """Lines of evidence: the calls of every process, and the ways of calling not counted."""
    family = Family(program)
    lines = [f"{family.label(p)}: {quoted(network_calls(p))}" for p in calling(program)]
    unseen = [
        f"{family.label(p)}: not counted in it: {', '.join(p.unseen)}"
        for p in program.processes
        if p.unseen
    ]
    return [*shortened(lines), *shortened(unseen)]


def _from_outside(report: Report, program: Program, device: Expected) -> Check:
    """Judge a program without counted network calls by what Linux and the driver show."""
    computing = [p for p in program.processes if computes(p) and not (p.instrumented and p.torch)]
    if not computing:
        loaded = any(computes(p) for p in program.processes)
        seen = (
            "torch was loaded, but no network was called"
            if loaded
            else "no process loaded torch, jax, tensorflow or onnxruntime"
        )
        return _device(device, Status.INCONCLUSIVE, seen, _rest(program))
    names = ", ".join(sorted({name for p in computing for name in p.libraries}))
    family = Family(program)
    evidence = shortened([_seen_of(report, family, p) for p in computing])
    busy = gpu_level(report, "utilization")
    if busy is not None:
        evidence.append(f"GPU utilisation: mean {busy:.0f} %")
    closed = all(p.driver_opened is False for p in computing)
    works = all(driver_listed(report, p) for p in computing) and bool(busy)
    if device.kind == CUDA and closed:
        status, seen = Status.FAIL, "no process opened NVIDIA's driver"
    elif device.kind == CUDA and works:
        status, seen = Status.PASS, "every process holds memory on a GPU that was busy"
    elif device.kind == CPU and closed:
        status, seen = Status.PASS, "no process opened NVIDIA's driver"
    else:
        status, seen = Status.INCONCLUSIVE, f"whether its networks are on {device.kind} is unknown"
    return _device(device, status, f"{seen} ({names}; {ONLY})", evidence)


def _seen_of(report: Report, family: Family, process: ProcessRecord) -> str:
    opened = {True: "open", False: "not opened", None: "unknown"}[process.driver_opened]
    mib = driver_listed(report, process)
    memory = "not listed on a GPU" if mib is None else f"{mib:,.0f} MiB of a GPU"
    libraries = ", ".join(process.libraries)
    return f"{family.label(process)}: {libraries}; driver {opened}, {memory}"


def _device(
    device: Expected | None,
    status: Status,
    observation: str,
    evidence: Sequence[str] = (),
    calls: int | None = None,
) -> Check:
    """The check; `calls` is the number of counted calls, None if it does not rest on calls."""
    rules = []
    if calls is not None:
        needed = Validity(
            rule="enough calls",
            observed=f"{calls:,}",
            needed=f"≥ {MIN_CALLS}",
            ok=calls >= MIN_CALLS,
        )
        rules.append(needed)
    return Check(
        name=DEVICE_CHECK,
        role=Role.DECIDING,
        status=status,
        expectation="none" if device is None else f"networks called on {device.kind}",
        observation=observation,
        evidence=list(evidence),
        validity=rules,
        source=SOURCE if device is None else device.because,
    )
