"""Examples that are trained on many times their share."""

from __future__ import annotations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.causes._options import options
from blobdiag.diagnosis.facts import figure_of, term_minutes
from blobdiag.model.judgement import Gain
from blobdiag.model.names import TRAINING
from blobdiag.model.report import Report

# KataGo trains each example 4 times; beyond four times that the network learns the examples.
KATAGO_REUSE = 4.0
MOST_REUSE = 16.0
# What is trained on more often than was asked for was counted wrong.
REUSE_EXCESS = 2.0


def _in_engine(report: Report) -> Seen | None:
    wanted = report.plan.reuse if report.plan else KATAGO_REUSE
    seen = figure_of(report, "each example trained on")
    times = max(wanted if report.plan else 0.0, seen or 0.0)
    excess = seen is not None and seen > REUSE_EXCESS * max(1.0, wanted)
    if times <= MOST_REUSE and not excess:
        return None
    evidence = [f"each example is trained on {times:,.1f} times"]
    if report.plan:
        evidence.append(f"asked for: {wanted:g} times; KataGo's figure is {KATAGO_REUSE:g}")
    target = KATAGO_REUSE if times > MOST_REUSE else wanted
    return Seen(
        title=f"Each example is trained on {times:,.0f} times",
        cause=(
            "Training runs for a fixed time or number of steps, however few examples the games "
            "give: the network memorises its examples, and plays no better for it."
        ),
        evidence=evidence,
        remedy=(
            f"Train on each example {target:g} times{options(report, f'--reuse {target:g}')}: "
            f"steps = new examples × {target:g} ÷ batch size"
        ),
        gain=_gain(report, target, times),
    )


def _gain(report: Report, target: float, times: float) -> Gain:
    minutes = term_minutes(report, TRAINING)
    if minutes is None:
        return gains.unknown("this run has no plan with a training")
    basis = f"the training's minutes beyond {target:g} times each"
    return gains.saved(minutes * (1 - target / times), basis)


CAUSE = Cause(
    name="overfitted-by-reuse",
    rank=120,
    summary="Each example is trained on many times its share: the network memorises it",
    seen_as=(
        f"each example trained on more than {MOST_REUSE:g} times, or more than {REUSE_EXCESS:g} × "
        "as often as asked for"
    ),
    in_engine=_in_engine,
)
