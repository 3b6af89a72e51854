"""The bug report's three tests: each check holds one expectation against what was seen.

What is not known makes a check INCONCLUSIVE, never PASS. Where a check cannot apply the caller
passes the reason as `not_applicable` ("the device is cpu").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blobdiag.diagnosis.evidence import MIN_SAMPLES
from blobdiag.diagnosis.expectations import Expectation
from blobdiag.diagnosis.idle import MAX_SAMPLE_HOLE_S, bounds, idle_gaps, longest_hole
from blobdiag.diagnosis.statistics import speed_ratio
from blobdiag.diagnosis.timeline import LOOK_BACK_S, end_of, utilization
from blobdiag.model.figures import figure
from blobdiag.model.report import (
    Check,
    Metric,
    Role,
    SearchHealth,
    Status,
    Throughput,
    Validity,
    WorkerRecord,
)
from blobdiag.sampling.trace import Span, Trace

# A phase shorter than this has too few of NVML's averaging windows (1/6 to 1 s) in it.
MIN_PHASE_S = 5.0

DEVICE_CHECK = "workers on the device"
SPEED_CHECK = "GPU speed-up"
IDLE_CHECK = "no idle gap"
DISTINCT_CHECK = "distinct evaluations"
DEEP_CHECK = "searches deep"
POLICY_CHECK = "policy not uniform"


def on_device(asked: str, actual: str) -> bool:
    """Whether a device is the asked one: `cuda` accepts any `cuda:N`, `cuda:1` only itself."""
    return actual == asked or (asked == "cuda" and actual.startswith("cuda:"))


def device_reaches_workers(
    workers: Sequence[WorkerRecord], asked: str, on_meta: bool = False
) -> Check:
    """Every parameter and the first output of every worker lie on the asked device (Test 1)."""
    wrong = [w for w in workers if not all(on_device(asked, d) for d in _devices(w))]
    silent = [w for w in workers if not w.parameter_devices]
    how = " (proven on torch's meta device)" if on_meta else ""
    if not workers:
        status, seen = Status.INCONCLUSIVE, "no worker reported its device"
    elif wrong:
        status, seen = Status.FAIL, f"{len(wrong)} of {len(workers)} workers are not on {asked}"
    elif silent:
        status, seen = Status.INCONCLUSIVE, f"{len(silent)} workers named no parameter's device"
    else:
        status, seen = Status.PASS, f"all of {_count(len(workers), 'worker')} on {asked}"
        seen += _own_word(workers)
    return Check(
        name=DEVICE_CHECK,
        role=Role.DECIDING,
        status=status,
        expectation=f"all parameters and outputs on {asked}",
        observation=seen + how,
        evidence=[_where(worker) for worker in wrong or silent],
        source="bug report, Test 1",
    )


def _own_word(workers: Sequence[WorkerRecord]) -> str:
    """How many of another project's workers called no network that was counted."""
    unseen = sum(worker.batches is None for worker in workers)
    if not unseen:
        return ""
    return f" ({unseen} by the engine's own word alone: no forward call was counted there)"


def gpu_utilisation(
    trace: Trace,
    gpu_uuids: Sequence[str],
    phase_name: str,
    spans: Sequence[Span],
    expectation: Expectation,
    not_applicable: str | None = None,
) -> Check:
    """Mean utilisation, in %, over all spans of that name; of several GPUs the lowest decides.

    The first second of a span is left out: NVML's reading still speaks of what was before it.
    """
    name = f"{phase_name} GPU utilisation"
    if not_applicable:
        return _check(name, expectation, Status.NOT_APPLICABLE, not_applicable)
    named = [(s.start, end_of(s, trace)) for s in spans if s.name == phase_name]
    if not named:
        return unknown(name, expectation, f"the run had no phase {phase_name!r}")
    if not gpu_uuids:
        return unknown(name, expectation, "no GPU was sampled")
    seen = {
        uuid: [
            value
            for start, end in named
            for value in trace.between(utilization(uuid), start + LOOK_BACK_S, end)
        ]
        for uuid in gpu_uuids
    }
    rules = _enough(sum(end - start for start, end in named), min(map(len, seen.values())))
    short = next((rule for rule in rules if not rule.ok), None)
    if short is not None:
        reason = next((trace.unsupported.get(utilization(u)) for u, v in seen.items() if not v), "")
        observed = reason or f"{short.rule}: {short.observed}, needed {short.needed}"
        return _check(name, expectation, Status.INCONCLUSIVE, observed, validity=rules)
    means = {uuid: sum(values) / len(values) for uuid, values in seen.items()}
    lowest = min(means.values())
    observed = f"mean {lowest:.0f} %"
    if len(means) > 1:
        observed = f"lowest mean of {len(means)} GPUs {lowest:.0f} %"
    evidence = [f"{u}: mean {mean:.1f} % of {len(seen[u])} samples" for u, mean in means.items()]
    return _check(name, expectation, expectation.judge(lowest), observed, evidence, rules)


def no_idle_gaps(
    trace: Trace,
    gpu_uuids: Sequence[str],
    spans: Sequence[Span],
    expectation: Expectation,
    not_applicable: str | None = None,
) -> Check:
    """No GPU at 0 % for longer than the expectation's upper end, in s, within the spans (Test 3).

    A gap that was seen counts however short the run; that none was seen counts only where the
    samples leave no hole in which one could hide.
    """
    if not_applicable:
        return _check(IDLE_CHECK, expectation, Status.NOT_APPLICABLE, not_applicable)
    if expectation.high is None:
        raise ValueError("the idle gap's expectation needs an upper end")
    if not gpu_uuids or not spans:
        missing = "no phase in which the GPU should work" if gpu_uuids else "no GPU was sampled"
        return unknown(IDLE_CHECK, expectation, missing)
    gaps = idle_gaps(trace, gpu_uuids, spans, expectation.high)
    if gaps:
        longest = max(gaps, key=lambda gap: gap.seconds)
        observed = (
            f"{_count(len(gaps), 'gap')}, the longest {longest.seconds:.1f} s ({longest.phase})"
        )
        evidence = [
            f"{g.device}: {g.start_s:.1f} to {g.end_s:.1f} s, {g.seconds:.1f} s, {g.phase}"
            for g in gaps
        ]
        return _check(IDLE_CHECK, expectation, Status.FAIL, observed, evidence)
    start, end = bounds(trace, spans)
    hole = longest_hole(trace, gpu_uuids, spans)
    allowed = min(expectation.high, MAX_SAMPLE_HOLE_S)
    rules = [
        _long_enough(end - start),
        Validity(
            rule="samples without a hole",
            observed=f"longest {hole:.1f} s",
            needed=f"≤ {allowed:g} s",
            ok=hole <= allowed,
        ),
    ]
    short = next((rule for rule in rules if not rule.ok), None)
    if short is None:
        return _check(IDLE_CHECK, expectation, Status.PASS, "none seen", validity=rules)
    observed = f"{short.rule}: {short.observed}, needed {short.needed}"
    return _check(IDLE_CHECK, expectation, Status.INCONCLUSIVE, observed, validity=rules)


def speedup(
    cpu: Throughput | None,
    gpu: Throughput | None,
    expectation: Expectation,
    not_applicable: str | None = None,
) -> Check:
    """Games/min of the GPU ÷ those of the CPU, judged by the ends of the 95 % interval (Test 2).

    PASS when the lower bound reaches the expectation, FAIL when the upper bound does not.
    """
    if not_applicable:
        return _check(SPEED_CHECK, expectation, Status.NOT_APPLICABLE, not_applicable)
    if cpu is None or gpu is None:
        device = "CPU" if cpu is None else "GPU"
        return unknown(SPEED_CHECK, expectation, f"the {device} was not measured")
    ratio = speed_ratio(gpu, cpu)
    if ratio.value is None or ratio.interval is None:
        value = "" if ratio.value is None else f"{ratio.value:.2f} ×, but "
        return unknown(SPEED_CHECK, expectation, f"{value}{ratio.reason}")
    low, high = ratio.interval.low, ratio.interval.high
    observed = f"{ratio.value:.2f} × (95 % interval {low:.2f} to {high:.2f})"
    if expectation.above(ratio.value):
        observed += ", above the upper end, which is advisory"
    evidence = [_speed(throughput) for throughput in (cpu, gpu)]
    return _check(SPEED_CHECK, expectation, expectation.judge(ratio.interval), observed, evidence)


def search_health(
    throughputs: Sequence[Throughput],
    expectations: dict[str, Expectation],
    not_applicable: str | None = None,
) -> list[Check]:
    """Whether evaluations were spent on a search: distinct nodes, depth, a policy (design, §3).

    Of several throughputs the worst decides. The policy's divergence is judged only with trained
    weights: random ones are nearly uniform.
    """
    if not_applicable:
        names = (DISTINCT_CHECK, "distinct-share"), (DEEP_CHECK, "deep-share")
        return [
            _check(name, expectations[key], Status.NOT_APPLICABLE, not_applicable)
            for name, key in (*names, (POLICY_CHECK, "visit-kl"))
        ]
    trained = [t for t in throughputs if t.search_health.trained_weights]
    checks = [
        _health(DISTINCT_CHECK, throughputs, expectations["distinct-share"], _distinct),
        _health(DEEP_CHECK, throughputs, expectations["deep-share"], _deep),
    ]
    if trained or not throughputs:
        policy = _health(POLICY_CHECK, trained, expectations["visit-kl"], _divergence)
    else:
        reason = "random weights are nearly uniform"
        expectation = expectations["visit-kl"]
        policy = _check(POLICY_CHECK, expectation, Status.NOT_APPLICABLE, reason)
    return [*checks, policy]


def outputs_agree(
    max_policy_difference: float | None,
    max_value_difference: float | None,
    dtype: str,
    tolerance: float,
    not_applicable: str | None = None,
) -> Check:
    """Both devices give the same policy and value, up to `tolerance` (absolute) in `dtype`."""
    if not_applicable:
        status, seen = Status.NOT_APPLICABLE, not_applicable
    elif max_policy_difference is None or max_value_difference is None:
        status, seen = Status.INCONCLUSIVE, "the outputs were not compared"
    else:
        differences = (max_policy_difference, max_value_difference)
        # A NaN agrees with nothing, and max() would hide it.
        agree = all(difference <= tolerance for difference in differences)
        status = Status.PASS if agree else Status.FAIL
        seen = f"policy differs by {max_policy_difference:.1e}, value by {max_value_difference:.1e}"
    return Check(
        name="same answers on both devices",
        role=Role.DECIDING,
        status=status,
        expectation=f"largest difference in {dtype} ≤ {tolerance:.0e}",
        observation=seen,
        source="design, §1",
    )


def starved(
    achieved: float | None,
    bare: float | None,
    device: str,
    expectation: Expectation,
    not_applicable: str | None = None,
) -> Check:
    """Self-play's evals/s ÷ what the bare network attains on the device; advisory on a CPU.

    Utilisation is a duty cycle: a GPU at 99 % that does a small part of what it could is starved.
    """
    name = "GPU not starved" if device.startswith("cuda") else "CPU not starved"
    role = expectation.role if device.startswith("cuda") else Role.ADVISORY
    if not_applicable:
        check = _check(name, expectation, Status.NOT_APPLICABLE, not_applicable)
    elif achieved is None or not bare:
        check = unknown(name, expectation, "the evaluation rate or the bare network's is unknown")
    else:
        share = achieved / bare
        seen = f"{share:.2f} of the bare network ({achieved:,.0f} of {bare:,.0f} evals/s)"
        check = _check(name, expectation, expectation.judge(share), seen)
    return check.model_copy(
        update={"role": role, "expectation": f"{expectation} of the bare network's evals/s"}
    )


def advisory(metric: Metric, expectation: Expectation) -> Check:
    """A figure beside the range the report expects; never decides.

    Raises ValueError when their units differ.
    """
    if metric.unit != expectation.unit:
        raise ValueError(f"{metric.name} is in {metric.unit}, expected in {expectation.unit}")
    if metric.value is None:
        check = unknown(metric.name, expectation, str(metric.reason))
    else:
        seen = f"{figure(metric.value)} {metric.unit}"
        check = _check(metric.name, expectation, expectation.judge(metric.value), seen)
    return check.model_copy(update={"role": Role.ADVISORY})


def _check(
    name: str,
    expectation: Expectation,
    status: Status,
    observation: str,
    evidence: Sequence[str] = (),
    validity: Sequence[Validity] = (),
) -> Check:
    return Check(
        name=name,
        role=expectation.role,
        status=status,
        expectation=str(expectation),
        observation=observation,
        evidence=list(evidence),
        validity=list(validity),
        source=expectation.source,
    )


def unknown(name: str, expectation: Expectation, why: str) -> Check:
    """A check that could not be made, and why: INCONCLUSIVE."""
    return _check(name, expectation, Status.INCONCLUSIVE, why)


def _enough(seconds: float, samples: int) -> list[Validity]:
    rule = Validity(
        rule="enough samples",
        observed=f"{samples}",
        needed=f"≥ {MIN_SAMPLES}",
        ok=samples >= MIN_SAMPLES,
    )
    return [_long_enough(seconds), rule]


def _long_enough(seconds: float) -> Validity:
    return Validity(
        rule="phase long enough",
        observed=f"{seconds:.1f} s",
        needed=f"≥ {MIN_PHASE_S:g} s",
        ok=seconds >= MIN_PHASE_S,
    )


def _devices(worker: WorkerRecord) -> list[str]:
    """All that it named."""
    return [*worker.parameter_devices, *filter(None, [worker.output_device])]


def _where(worker: WorkerRecord) -> str:
    parameters = ", ".join(worker.parameter_devices) or "not reported"
    return (
        f"worker {worker.worker} (pid {worker.pid}): asked {worker.device_asked}, "
        f"parameters on {parameters}, output on {worker.output_device or 'not reported'}"
    )


def _speed(throughput: Throughput) -> str:
    games = throughput.games_per_minute
    value = f"{figure(games.value)} games/min" if games.value is not None else f"– ({games.reason})"
    dtype = f", {throughput.dtype}" if throughput.dtype else ""
    return f"{throughput.device}: {value}, {throughput.games} games{dtype}"


def _distinct(health: SearchHealth) -> float | None:
    return health.distinct_share


def _deep(health: SearchHealth) -> float | None:
    return health.deep_share


def _divergence(health: SearchHealth) -> float | None:
    return health.mean_kl_nats


def _health(
    name: str,
    throughputs: Sequence[Throughput],
    expectation: Expectation,
    figure: Callable[[SearchHealth], float | None],
) -> Check:
    figures = [(t, figure(t.search_health)) for t in throughputs]
    known = [value for _, value in figures if value is not None]
    evidence = [
        f"{t.device}: {value:.3f}"
        if value is not None
        else f"{t.device}: – ({t.search_health.reason or 'not recorded'})"
        for t, value in figures
    ]
    if known and expectation.judge(min(known)) is Status.FAIL:
        status = Status.FAIL
    elif not known or len(known) < len(figures):
        status = Status.INCONCLUSIVE
    else:
        status = Status.PASS
    observed = f"lowest {min(known):.3f}" if known else "not recorded"
    return _check(name, expectation, status, observed, evidence)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
