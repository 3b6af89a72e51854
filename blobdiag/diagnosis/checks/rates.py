"""Checks that compare rates: the GPU with the CPU, self-play with the bare network."""

from __future__ import annotations

from blobdiag.diagnosis.checks.common import check, unknown
from blobdiag.diagnosis.expectations import Expectation
from blobdiag.model.base import Role, Status
from blobdiag.model.device import Device
from blobdiag.model.figures import figure
from blobdiag.model.judgement import Check
from blobdiag.model.selfplay import Throughput
from blobdiag.model.statistics import speed_ratio

SPEED_CHECK = "GPU speed-up"


def speedup(
    cpu: Throughput | None,
    gpu: Throughput | None,
    expectation: Expectation,
    not_applicable: str | None = None,
) -> Check:
    """Check games/min of the GPU ÷ games/min of the CPU by the ends of its 95 % interval.

    PASS if the lower end reaches the expectation, FAIL if the upper end does not.
    """
    if not_applicable:
        return check(SPEED_CHECK, expectation, Status.NOT_APPLICABLE, not_applicable)
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
        observed += ", above the advisory upper end"
    evidence = [_speed(throughput) for throughput in (cpu, gpu)]
    return check(SPEED_CHECK, expectation, expectation.judge(ratio.interval), observed, evidence)


def outputs_agree(
    max_policy_difference: float | None,
    max_value_difference: float | None,
    dtype: str,
    tolerance: float,
    not_applicable: str | None = None,
) -> Check:
    """Check that both devices give the same policy and value, within an absolute `tolerance`.

    `dtype` is that of the compared answers.
    """
    if not_applicable:
        status, seen = Status.NOT_APPLICABLE, not_applicable
    elif max_policy_difference is None or max_value_difference is None:
        status, seen = Status.INCONCLUSIVE, "the outputs were not compared"
    else:
        differences = (max_policy_difference, max_value_difference)
        # max() would hide a NaN.
        agree = all(difference <= tolerance for difference in differences)
        status = Status.PASS if agree else Status.FAIL
        seen = f"policy differs by {max_policy_difference:.1e}, value by {max_value_difference:.1e}"
    return Check(
        name="same answers on both devices",
        role=Role.DECIDING,
        status=status,
        expectation=f"largest difference in {dtype} ≤ {tolerance:.0e}",
        observation=seen,
        source="docs/expectations.md#outputs-agree",
    )


def starved(
    achieved: float | None,
    bare: float | None,
    device: str,
    expectation: Expectation,
    not_applicable: str | None = None,
) -> Check:
    """Check evals/s of self-play ÷ evals/s of the bare network on the device; advisory on a CPU.

    Utilisation is a duty cycle: a GPU at 99 % may still reach a small part of its possible rate.
    """
    name = "GPU not starved" if Device.of(device).on_cuda else "CPU not starved"
    role = expectation.role if Device.of(device).on_cuda else Role.ADVISORY
    if not_applicable:
        made = check(name, expectation, Status.NOT_APPLICABLE, not_applicable)
    elif achieved is None or not bare:
        made = unknown(name, expectation, "the evaluation rate or the bare network's is unknown")
    else:
        share = achieved / bare
        seen = f"{share:.2f} of the bare network ({achieved:,.0f} of {bare:,.0f} evals/s)"
        made = check(name, expectation, expectation.judge(share), seen)
    return made.model_copy(
        update={"role": role, "expectation": f"{expectation} of the bare network's evals/s"}
    )


def _speed(throughput: Throughput) -> str:
    games = throughput.games_per_minute
    value = f"{figure(games.value)} games/min" if games.value is not None else f"– ({games.reason})"
    dtype = f", {throughput.dtype}" if throughput.dtype else ""
    return f"{throughput.device}: {value}, {throughput.games} games{dtype}"
