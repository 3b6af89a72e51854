"""`compare`: is the GPU worth it?"""

from __future__ import annotations

from blobdiag.diagnosis.checks.common import with_validity
from blobdiag.diagnosis.checks.device import device_reaches_workers
from blobdiag.diagnosis.checks.machine import machine_checks
from blobdiag.diagnosis.checks.rates import outputs_agree, speedup
from blobdiag.diagnosis.command_judgement import Judgement
from blobdiag.diagnosis.commands.selfplay import health_checks, no_gpu, reached
from blobdiag.diagnosis.facts import expectations, number, unseen, whole_number
from blobdiag.diagnosis.validity import by_device, window_rules
from blobdiag.model.device import Device
from blobdiag.model.judgement import Check
from blobdiag.model.report import Report

FLOAT32_TOLERANCE, BFLOAT16_TOLERANCE = 1e-3, 0.03
"""Largest allowed difference of a probability or value between devices, by the GPU's dtype."""


def judge(report: Report) -> Judgement:
    """Judge the speed-up's lower bound, and whether both devices give the same answers."""
    throughputs = {throughput.device: throughput for throughput in report.throughput}
    untested = no_gpu(report)
    ratio = speedup(
        throughputs.get("cpu"),
        throughputs.get(report.device),
        expectations(report)["speed-up"],
        None if untested is None else f"only the CPU was measured: {untested}",
    )
    seconds, games = number(report, "min_seconds", 0.0), whole_number(report, "games", 1)
    rules = by_device(
        {device: window_rules(report, t, seconds, games) for device, t in throughputs.items()}
    )
    checks = [with_validity(ratio, rules)]
    if untested is None:
        checks = [_device(report), *checks, _answers(report)]
    checks += health_checks(report)
    for throughput in report.throughput:
        checks += machine_checks(report, throughput)
    return Judgement(_headline(report, ratio), checks, rules, untested)


def _headline(report: Report, ratio: Check) -> str:
    """One sentence with each device's games per minute and the speed-up."""
    speeds = [(t.device, said) for t in report.throughput if (said := reached(t))]
    if not speeds:
        return ""
    if not Device.of(report.device).on_cuda:
        return f"The CPU reached {speeds[0][1]}."
    return f"{'; '.join(f'{device}: {said}' for device, said in speeds)}; {ratio.observation}."


def _device(report: Report) -> Check:
    """The check that the device reached the workers of the GPU's arm."""
    asked = Device.of(report.device)
    workers = [w for w in report.workers if asked.accepts(Device.of(w.device_asked))]
    return device_reaches_workers(workers, report.device)


def _answers(report: Report) -> Check:
    """The check that both devices give the same answers, within the tolerance of the dtype."""
    seen = report.answers
    arm = next((t for t in report.throughput if t.device == report.device), None)
    dtype = (seen.dtype if seen else None) or (arm.dtype if arm else None) or "float32"
    return outputs_agree(
        seen.policy if seen else None,
        seen.value if seen else None,
        dtype,
        FLOAT32_TOLERANCE if dtype == "float32" else BFLOAT16_TOLERANCE,
        unseen(report),
    )
