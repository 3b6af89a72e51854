"""Comparison of two sets of runs: what differs, and whether a figure became worse.

Pure functions of two lists of reports; the statistics are in between_runs.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from statistics import fmean

from blobdiag.diagnosis.between_runs import Figure, ratio
from blobdiag.diagnosis.facts import asked
from blobdiag.diagnosis.gates import FIGURES, Gate
from blobdiag.diagnosis.report_figures import figures
from blobdiag.diagnosis.validity import RATE_RULES
from blobdiag.model.base import Interval, Status
from blobdiag.model.comparison import Change, Comparison, Difference, GateResult, Spread
from blobdiag.model.judgement import Finding
from blobdiag.model.report import Report

Value = str | int | float | bool | None

SPREAD_UNKNOWN = (
    "the run-to-run spread is unknown: give at least two reports per side, or store the spread "
    "with `blobdiag report spread` and at least three reports of one configuration"
)
SPREAD_NOT_APPLICABLE = (
    "one report per side, of different machines or devices: the stored run-to-run spread does not "
    "apply; give at least two reports per side"
)
# Options that do not change how much work there is.
NOT_THE_WORKLOAD = ("output", "quiet", "label", "seed", "format", "html", "timeout")
_EXPERIMENT = ("command", "device", "cpu", "cores_usable", "gpus")


def compare(
    old: Sequence[Report],
    new: Sequence[Report],
    stored: Mapping[str, Spread] | None = None,
    gates: Sequence[Gate] = (),
) -> Comparison:
    """Compare `new` with `old`, at least one report per side.

    `stored` holds run-to-run spreads of the new side's workload by the figure's name. They are
    used only if all reports come from one machine, device and dtype.
    """
    alike = len({machine_key(report) for report in (*old, *new)}) == 1
    why_unknown = SPREAD_UNKNOWN if alike else SPREAD_NOT_APPLICABLE
    changes = _changes(old, new, (stored or {}) if alike else {}, why_unknown)
    doubts = [*_doubts("old", old), *_doubts("new", new)]
    settings = _differences(_settings, old, new)
    found_old, found_new = _findings(old), _findings(new)
    return Comparison(
        old_reports=len(old),
        new_reports=len(new),
        unlike=_unlike(settings, old, new),
        doubts=doubts,
        settings=settings,
        figures=changes,
        checks=_differences(_statuses, old, new),
        appeared=[f for name, f in found_new.items() if name not in found_old],
        gone=[f for name, f in found_old.items() if name not in found_new],
        gates=[judge(gate, changes, doubts) for gate in gates],
    )


def spread_key(report: Report) -> str:
    """The workload and machine that a run-to-run spread applies to, as JSON.

    Runs of 60 s differ by less than runs of 3 s, and the spread depends on the network.
    """
    asked_for = {"command": report.command, **workload(report)}
    return json.dumps([machine_key(report), asked_for], sort_keys=True)


def machine_key(report: Report) -> str:
    """CPU, cores, GPUs, device and dtype, as JSON."""
    throughput = asked(report)
    return json.dumps(
        {
            "cpu": report.machine.cpu,
            "cores": report.machine.cores_usable,
            "gpus": sorted(gpu.name for gpu in report.gpus),
            "device": report.device,
            "dtype": throughput.dtype if throughput else None,
        },
        sort_keys=True,
    )


def judge(gate: Gate, changes: Sequence[Change], doubts: Sequence[str] = ()) -> GateResult:
    """Whether the gate's figure became worse by the gate's percentage or more.

    FAIL: the whole 95 % interval is worse than no change, and the measured change reaches the
    percentage. PASS: the whole interval is below the percentage. Else INCONCLUSIVE.

    FAIL does not require the whole interval beyond the percentage. Three runs per side with a
    run-to-run spread of 2 % measure a change of 10 % to within about 5 points, so a gate at 5 %
    would then miss half of such changes. With this rule 98 of 100 are found, and equal code fails
    in at most 2.5 of 100 whatever the spread (one side of a 95 % interval), in practice in fewer
    than 1 of 100 with a spread of 2 %.
    """

    def result(status: Status, text: str) -> GateResult:
        return GateResult(gate=str(gate), status=status, text=text)

    change = next((change for change in changes if change.name == gate.figure), None)
    if change is None:
        return result(Status.INCONCLUSIVE, f"no report has {gate.figure}")
    if change.ratio is None or change.interval is None:
        return result(Status.INCONCLUSIVE, change.reason or "not known")
    if doubts:
        return result(Status.INCONCLUSIVE, f"the evidence is not valid: {doubts[0]}")
    harm = sorted(_harm(gate, end) for end in (change.interval.low, change.interval.high))
    least, most, seen = harm[0], harm[1], _harm(gate, change.ratio)
    text = f"{_amount(seen)} (95 % interval: {_amount(least)} to {_amount(most)})"
    if least > 0 and seen >= gate.percent:
        return result(Status.FAIL, text)
    if most < gate.percent:
        return result(Status.PASS, text)
    return result(Status.INCONCLUSIVE, f"{text}: give more reports per side")


def _harm(gate: Gate, changed: float) -> float:
    """How much worse the new figure is, in % of the old one; negative if it is better."""
    return 100 * ((1 - changed) if gate.better == "higher" else (changed - 1))


def _amount(harm: float) -> str:
    return f"{abs(harm):.1f} % {'worse' if harm >= 0 else 'better'}"


def _changes(
    old: Sequence[Report],
    new: Sequence[Report],
    stored: Mapping[str, Spread],
    why_unknown: str,
) -> list[Change]:
    before, after = ([figures(report) for report in side] for side in (old, new))
    names = dict.fromkeys(name for run in (*before, *after) for name in run)

    def known(side: Sequence[Mapping[str, Figure]], name: str) -> list[Figure]:
        return [run[name] for run in side if name in run]

    return [
        _change(name, known(before, name), known(after, name), stored.get(name), why_unknown)
        for name in names
    ]


def _change(
    name: str,
    old: Sequence[Figure],
    new: Sequence[Figure],
    stored: Spread | None,
    why_unknown: str,
) -> Change:
    change = Change(
        name=name,
        unit=(*old, *new)[0].unit,
        better=FIGURES.get(name),
        old=_mean(old),
        new=_mean(new),
        ratio=None,
        interval=None,
    )
    if not old or not new:
        side = "old" if not old else "new"
        return change.model_copy(update={"reason": f"no {side} report has this figure"})
    if {figure.value for figure in (*old, *new)} == {0.0}:
        return change.model_copy(update={"ratio": 1.0, "interval": Interval(low=1, high=1)})
    if any(figure.value <= 0 for figure in (*old, *new)):
        return change.model_copy(update={"reason": "no ratio: a value is 0 or less"})
    found = ratio(old, new, stored)
    return change.model_copy(
        update={
            "ratio": found.value,
            "interval": found.interval,
            "log_sd": found.spread.log_sd if found.spread else None,
            "freedom": found.spread.freedom if found.spread else 0,
            "reason": None if found.interval else why_unknown,
        }
    )


def _mean(side: Sequence[Figure]) -> float | None:
    """Geometric mean; the arithmetic mean if a value is 0 or less; None without values."""
    values = [figure.value for figure in side]
    if not values:
        return None
    return exp(fmean(map(log, values))) if min(values) > 0 else fmean(values)


def _differences(
    of: Callable[[Report], Mapping[str, Value]], old: Sequence[Report], new: Sequence[Report]
) -> list[Difference]:
    """Names whose set of values differs between the sides."""
    sides = ([of(report) for report in old], [of(report) for report in new])
    names = dict.fromkeys(name for side in sides for run in side for name in run)
    seen = [
        Difference(name=name, old=_counted(sides[0], name), new=_counted(sides[1], name))
        for name in names
    ]
    return [one for one in seen if one.old.keys() != one.new.keys()]


def _counted(side: Sequence[Mapping[str, Value]], name: str) -> dict[str, int]:
    values = [run.get(name) for run in side]
    return dict(Counter("–" if value is None else str(value) for value in values))


def _settings(report: Report) -> dict[str, Value]:
    """Machine, software, options and layout of a run, by name."""
    machine, software, throughput = report.machine, report.software, asked(report)
    values: dict[str, Value] = {"command": report.command, "device": report.device}
    values |= machine.model_dump(exclude={"label"})
    # The same container reads a few MiB more or less.
    values["memory_gib"] = f"{machine.memory_gib:.1f}"
    values["gpus"] = ", ".join(sorted(gpu.name for gpu in report.gpus)) or None
    values |= software.model_dump()
    if throughput is not None:
        for name in ("dtype", "workers", "threads", "lanes"):
            values[f"{name} used"] = getattr(throughput, name)
    if not report.weights_version:
        # Once trained, weights differ from run to run.
        values["weights"] = report.weights_hash
    configuration = report.configuration.items()
    return values | {n: v for n, v in configuration if n not in ("output", "quiet", "label")}


def workload(report: Report) -> dict[str, Value]:
    """The options of a run that determine how much work it does."""
    return {n: v for n, v in report.configuration.items() if n not in NOT_THE_WORKLOAD}


def _statuses(report: Report) -> dict[str, Value]:
    return {check.name: check.status for check in report.checks}


def _unlike(
    settings: Sequence[Difference], old: Sequence[Report], new: Sequence[Report]
) -> list[str]:
    """Reasons why the two sides are not repetitions of one experiment."""
    asked_for = {name for report in (*old, *new) for name in workload(report)}
    differing = [one.name for one in settings if one.name in asked_for or one.name in _EXPERIMENT]
    # Random weights come from the seed.
    if "seed" not in {one.name for one in settings} and _known_weights_differ(old, new):
        differing.append("weights")
    notes = []
    if differing:
        notes.append(f"the sides are not the same experiment: {', '.join(differing)} differ")
    for side, reports in (("old", old), ("new", new)):
        if any(workload(report) != workload(reports[0]) for report in reports):
            notes.append(f"the {side} reports differ in their configuration")
    if len(old) + len(new) > 2 and _one_side_first(old, new):
        notes.append(
            "all runs of one side came before the other side's: a drift of the machine would look "
            "like a change; alternate the runs of both sides"
        )
    return notes


def _known_weights_differ(old: Sequence[Report], new: Sequence[Report]) -> bool:
    before, after = ({_settings(r).get("weights") for r in side} - {None} for side in (old, new))
    return bool(before and after) and before != after


def _one_side_first(old: Sequence[Report], new: Sequence[Report]) -> bool:
    """Whether all runs of one side started before all runs of the other."""
    before, after = ([report.started_utc for report in side] for side in (old, new))
    return max(before) < min(after) or max(after) < min(before)


def _doubts(side: str, reports: Sequence[Report]) -> list[str]:
    """One line for each report that ended early or broke a rule of validity.

    RATE_RULES are left out: a comparison uses the spread between runs, not within one.
    """
    return [
        f"{side} report {number} ({report.started_utc}): {why}"
        for number, report in enumerate(reports, start=1)
        for why in broken(report)
    ]


def cut_short(report: Report) -> list[str]:
    """Why a run ended before it was complete; empty if it was complete."""
    why = ["it was interrupted"] if report.interrupted else []
    failed = [event.text for event in report.events if event.kind == "failed"]
    return why + [f"it failed: {text.strip().splitlines()[-1]}" for text in failed]


def broken(report: Report) -> list[str]:
    """Why a report's figures cannot be compared with other runs; empty if they can."""
    return cut_short(report) + [
        f"{rule.rule}: {rule.observed}, needed {rule.needed}"
        for rule in report.validity
        # In a run with several devices, a rule's name begins with the device.
        if not rule.ok and rule.rule.rpartition(": ")[2] not in RATE_RULES
    ]


def _findings(reports: Sequence[Report]) -> dict[str, Finding]:
    return {finding.name: finding for report in reports for finding in report.findings}
