"""The checks of a watched program: where its networks are called, and what its GPUs do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from blobdiag.diagnosis.checks import IDLE_CHECK, MIN_PHASE_S, gpu_utilisation
from blobdiag.diagnosis.evidence import SELF_PLAY, TRAINING
from blobdiag.diagnosis.expectations import EXPECTATIONS, Expectation
from blobdiag.diagnosis.idle import MAX_SAMPLE_HOLE_S, bounds, longest_hole
from blobdiag.diagnosis.program import (
    CPU,
    CUDA,
    MARKERS,
    Expected,
    Family,
    Off,
    calling,
    computes,
    driver_listed,
    expected,
    gpu_level,
    gpus_used,
    is_python,
    network_calls,
    numbered,
    off_device,
    on,
    quoted,
    shortened,
    total,
    uses_gpu,
)
from blobdiag.diagnosis.timeline import trace_of
from blobdiag.model.report import Check, ProcessRecord, Program, Report, Role, Status, Validity
from blobdiag.sampling.trace import Span, Trace

DEVICE_CHECK = "forwards on the device"
WHOLE_RUN = "whole run"
# Fewer calls may all be tries.
MIN_CALLS = 10
# To import torch alone takes more CPU time: what used less called no network worth a word.
LEAST_CPU_SECONDS = 0.5
# A long run's samples are merged in the report: a hole is what is longer than so many of them.
HOLE_IN_SAMPLES = 3.0
ONLY = "no call could be counted: libraries, the driver's files and the GPU are all that was seen"


def program_checks(
    report: Report, expectations: Mapping[str, Expectation] = EXPECTATIONS
) -> list[Check]:
    """The checks of a report's program, by the expectations' names; none where it has none.

    The device decides always. The GPU's utilisation and its gaps do so in the phases that the
    program marked as self-play or training: elsewhere nothing says that a GPU should work.
    """
    if report.program is None:
        return []
    return [_forwards(report, report.program), *_of_the_gpu(report, report.program, expectations)]


# Where networks are called


def _forwards(report: Report, program: Program) -> Check:
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
    but = f", but for {stray:,} tries" if stray else ""
    seen = f"{calls:,} calls of {numbered(len(callers))} on {device.kind}{but}"
    return _device(device, Status.PASS, seen, _rest(program), calls)


def _without_expectation(report: Report) -> Check:
    if report.gpus:
        seen = "nothing says which device is meant: --expect-device cuda, or cpu"
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
        return f"{process.modules_left_out:,} calls of kinds that found no room"
    return "why is not known"


def _off(family: Family, off: Off) -> str:
    return f"{family.label(off.process)}: {quoted(off.calls)}"


def _rest(program: Program) -> list[str]:
    """What every process called, and what of it is not counted."""
    family = Family(program)
    lines = [f"{family.label(p)}: {quoted(network_calls(p))}" for p in calling(program)]
    unseen = [
        f"{family.label(p)}: not counted in it: {', '.join(p.unseen)}"
        for p in program.processes
        if p.unseen
    ]
    return [*shortened(lines), *shortened(unseen)]


def _from_outside(report: Report, program: Program, device: Expected) -> Check:
    """By what Linux and the driver show, of a program that called no network that is counted."""
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
        status, seen = Status.PASS, "every process computes on a GPU that worked"
    elif device.kind == CPU and closed:
        status, seen = Status.PASS, "no process opened NVIDIA's driver"
    else:
        status, seen = Status.INCONCLUSIVE, "whether its networks are there cannot be told"
    return _device(device, status, f"{seen} ({names}; {ONLY})", evidence)


def _seen_of(report: Report, family: Family, process: ProcessRecord) -> str:
    opened = {True: "open", False: "not opened", None: "not known"}[process.driver_opened]
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
    """`calls` of networks were counted; None: the answer does not rest on them."""
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
        source="bug report, Test 1" if device is None else device.because,
    )


# What the GPUs do


def _of_the_gpu(
    report: Report, program: Program, expectations: Mapping[str, Expectation]
) -> list[Check]:
    """Utilisation and gaps: of marked phases, which decide, else of the whole run."""
    trace = trace_of(report)
    not_applicable = _no_gpu_wanted(report, program)
    marked = [s for s in trace.spans if s.name in (SELF_PLAY, TRAINING)]
    if program.phases_from != MARKERS:
        marked = []
    spans = marked or [Span(WHOLE_RUN, 0.0, report.seconds)]
    trace.spans = spans
    role = Role.DECIDING if marked else Role.ADVISORY
    utilisation = [
        gpu_utilisation(
            trace,
            gpus_used(report),
            name,
            spans,
            _in_role(expectations["training-gpu" if name == TRAINING else "self-play-gpu"], role),
            not_applicable,
        )
        for name in dict.fromkeys(span.name for span in spans)
    ]
    gaps = _no_gaps(report, trace, _in_role(expectations["idle-gap"], role), not_applicable)
    return [*utilisation, gaps]


def _in_role(expectation: Expectation, role: Role) -> Expectation:
    return expectation if role is Role.DECIDING else replace(expectation, role=role)


def _no_gpu_wanted(report: Report, program: Program) -> str | None:
    device = expected(report)
    if device is not None:
        return None if device.kind == CUDA else f"{device.kind} is expected: {device.because}"
    if not report.gpus:
        return "no device was asked for, and no GPU was seen"
    return "no process uses a GPU" if uses_gpu(program) is False else None


def _no_gaps(
    report: Report, trace: Trace, expectation: Expectation, not_applicable: str | None
) -> Check:
    """By the gaps that were found while the program ran, from samples that are finer than saved.

    That there are none counts only where they would have been seen.
    """
    assert expectation.high is not None
    used, gaps = gpus_used(report), report.idle_gaps
    start, end = bounds(trace, trace.spans)
    evidence, rules = [], []
    if not_applicable:
        status, seen = Status.NOT_APPLICABLE, not_applicable
    elif not used:
        status, seen = Status.INCONCLUSIVE, "no GPU was sampled"
    elif gaps:
        longest = max(gaps, key=lambda gap: gap.seconds)
        status = Status.FAIL
        seen = f"{len(gaps)} seen, the longest {longest.seconds:.1f} s ({longest.phase})"
        evidence = [
            f"{g.device}: {g.start_s:.1f} to {g.end_s:.1f} s, {g.seconds:.1f} s, {g.phase}"
            for g in gaps
        ]
    else:
        rules = _visible(report, trace, used, end - start, expectation.high)
        broken = next((rule for rule in rules if not rule.ok), None)
        status = Status.PASS if broken is None else Status.INCONCLUSIVE
        seen = f"{broken.rule}: {broken.observed}" if broken else "none seen"
    return Check(
        name=IDLE_CHECK,
        role=expectation.role,
        status=status,
        expectation=str(expectation),
        observation=seen,
        evidence=evidence,
        validity=rules,
        source=expectation.source,
    )


def _visible(
    report: Report, trace: Trace, used: Sequence[str], seconds: float, threshold: float
) -> list[Validity]:
    """Whether a gap longer than `threshold` seconds would have been seen."""
    finest = report.seconds_shortest_visible_gap
    hole = longest_hole(trace, used, trace.spans)
    points = max((len(s.times) for s in trace.samples.values()), default=0)
    allowed = max(MAX_SAMPLE_HOLE_S, HOLE_IN_SAMPLES * report.seconds / max(1, points))
    return [
        Validity(
            rule="long enough",
            observed=f"{seconds:.1f} s",
            needed=f"≥ {MIN_PHASE_S:g} s",
            ok=seconds >= MIN_PHASE_S,
        ),
        Validity(
            rule="shortest gap that could be seen",
            observed="not known" if finest is None else f"{finest:.1f} s",
            needed=f"≤ {threshold:g} s",
            ok=finest is not None and finest <= threshold,
        ),
        Validity(
            rule="samples without a hole",
            observed=f"longest {hole:.1f} s",
            needed=f"≤ {allowed:.1f} s",
            ok=hole <= allowed,
        ),
    ]
