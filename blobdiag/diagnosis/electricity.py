"""The energy a plan takes, from the power that the GPUs drew in each phase of the run."""

from __future__ import annotations

from collections.abc import Sequence

from blobdiag.diagnosis.facts import Window, arm_of, gpus, samples
from blobdiag.diagnosis.rates import RAMP
from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.model.device import Device
from blobdiag.model.names import SELF_PLAY
from blobdiag.model.plan import Plan
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

GPUS_ONLY = "GPUs only: the power of the rest of the machine is not measured"


def energy_of(report: Report, throughput: Throughput, plan: Plan) -> Metric:
    """Energy of the whole plan in kWh: each term's minutes × the mean power of its phase.

    A phase too short for two samples uses the mean power of the whole run.
    """
    if not Device.of(throughput.device).on_cuda:
        return _unknown(f"the power of {throughput.device} is not measured")
    used = gpus(report, arm_of(report, throughput))
    whole = watts(report, used, [(0.0, report.seconds)])
    if whole is None:
        reasons = [report.unsupported.get(names.gpu(uuid, "power")) for uuid in used]
        return _unknown(next((r for r in reasons if r), "no GPU's power was sampled"))
    hours = 0.0
    for term in plan.terms:
        phase = SELF_PLAY if term.name == RAMP else term.name.partition(",")[0]
        drawn = watts(report, used, windows_of(report, phase, throughput.device))
        hours += term.minutes / 60 * (whole if drawn is None else drawn)
    return Metric(name="energy", value=hours * plan.iterations / 1000, unit="kWh", reason=GPUS_ONLY)


def watts(report: Report, uuids: Sequence[str], within: Sequence[Window]) -> float | None:
    """Mean total power of these GPUs in W; None if one of them has too few samples.

    From the driver's energy counter (mJ) if it has one, else the mean of the power samples.
    """
    total = 0.0
    for uuid in uuids:
        counted = [
            (end[0] - start[0], end[1] - start[1])
            for window in within
            for readings in [samples(report, names.gpu(uuid, "energy"), [window])]
            if len(readings) > 1
            for start, end in [(readings[0], readings[-1])]
        ]
        power = [value for _, value in samples(report, names.gpu(uuid, "power"), within)]
        if counted and all(joules >= 0 for _, joules in counted):
            total += sum(j for _, j in counted) / 1000 / sum(s for s, _ in counted)
        elif len(power) > 1:
            total += sum(power) / len(power)
        else:
            return None
    return total if uuids else None


def windows_of(report: Report, name: str, device: str) -> list[Window]:
    """The windows in which the phase `name` ran on `device`."""
    return [
        (phase.start_s, phase.end_s)
        for phase in report.phases
        if phase.name == name and phase.device in (device, None)
    ]


def _unknown(reason: str) -> Metric:
    return Metric(name="energy", value=None, unit="kWh", reason=reason)
