"""float32 where bfloat16 was measured to be faster and to agree."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._options import options
from blobdiag.diagnosis.facts import arm_of, asked, stage_shares
from blobdiag.model.device import Device
from blobdiag.model.judgement import Gain
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# bfloat16 must be so much faster before it is missed: a probe's best of five repeats to 5 %.
PRECISION_GAIN = 1.2


def _in_engine(report: Report) -> Seen | None:
    unused = [
        (t, t.precision)
        for t in report.throughput
        if t.dtype == "float32"
        and t.precision is not None
        and t.precision.agrees
        and t.precision.bfloat16_speedup >= PRECISION_GAIN
    ]
    if not unused:
        return None
    worst, probe = unused[-1]
    return Seen(
        title=(
            f"The network runs in float32; bfloat16 is {probe.bfloat16_speedup:.1f} × as fast here"
        ),
        cause="The device has matrix units for bfloat16 that float32 does not use.",
        evidence=[
            f"{t.device}: played in float32; bfloat16 {seen.bfloat16_speedup:.2f} × as "
            f"fast, moves' probabilities within {seen.policy_difference:.1e}, "
            f"values within {seen.value_difference:.1e}"
            for t, seen in unused
        ],
        remedy=f"Play in bfloat16{options(report, '--dtype auto')}: network.to(torch.bfloat16)",
        gain=_gain(report, worst, probe.bfloat16_speedup),
    )


def _gain(report: Report, throughput: Throughput, speedup: float) -> Gain:
    if throughput is not asked(report):
        return gains.unknown(f"the plan is for {report.device}, not for {throughput.device}")
    shares = stage_shares(arm_of(report, throughput))
    on_cuda = Device.of(throughput.device).on_cuda
    network = shares.get("wait" if on_cuda else "network", 1.0)
    return gains.faster(
        report,
        1 / (1 - network + network / speedup),
        f"the network's share of the workers' time ({network:.0%}) {speedup:.2f} × as fast",
    )


CAUSE = Cause(
    name="precision-not-used",
    rank=160,
    summary="The network runs in float32 where bfloat16 is faster and agrees",
    seen_as=f"a probe of bfloat16 that is {PRECISION_GAIN:g} × as fast or more, and agrees",
    in_engine=_in_engine,
)
