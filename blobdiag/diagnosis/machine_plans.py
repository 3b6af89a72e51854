"""Plans of one training on several machines, from saved reports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from blobdiag.diagnosis.comparison import cut_short
from blobdiag.diagnosis.electricity import energy_of
from blobdiag.diagnosis.memory import memory_of
from blobdiag.diagnosis.planning import games_per_minute_for, plan_with, report_scenarios
from blobdiag.diagnosis.rates import Rates, rates_of
from blobdiag.model.base import Interval, Metric
from blobdiag.model.capacity import CapacityPlan, IterationMinutes, MachinePlan, Needed
from blobdiag.model.device import Device
from blobdiag.model.errors import UserError
from blobdiag.model.figures import figure
from blobdiag.model.names import EXAMPLES_PER_SECOND
from blobdiag.model.plan import Plan
from blobdiag.model.plan_request import Games, PlanRequest
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput
from blobdiag.model.shared_options import MOST_GAMES, MOST_ITERATIONS, MOST_REUSE

LEAST_REUSE = 1e-6
"""In a report: less is no training."""


def capacity_plan(reports: Sequence[tuple[Path, Report]], request: PlanRequest) -> CapacityPlan:
    """Plan the same training on the machine of each report.

    Raises UserError for a report that is no evidence or lacks a rate, and for growing games with
    fewer than 2 iterations.
    """
    own = reports[0][1].configuration
    iterations = request.iterations or int(_planned(own, "plan_iterations", 500, MOST_ITERATIONS))
    games = Games.parse(request.games or str(int(_planned(own, "plan_games", 10_000, MOST_GAMES))))
    reuse = request.reuse or _planned(own, "reuse", 4.0, MOST_REUSE, least=LEAST_REUSE)
    if iterations == 1 and games.first != games.last:
        raise UserError("--games FIRST..LAST needs at least 2 --iterations")
    hourly = request.price_per_hour
    prices = hourly if len(hourly) == len(reports) else [*hourly, None][:1] * len(reports)
    return CapacityPlan(
        iterations=iterations,
        first_games=games.first,
        last_games=games.last,
        reuse=reuse,
        machines=[
            machine_plan(path, report, throughput, request, iterations, games, reuse, price)
            for (path, report), price in zip(reports, prices, strict=True)
            for throughput in _usable(path, report, request.accept_invalid)
        ],
        scenarios=report_scenarios(iterations, games.mean),
    )


def _planned(
    configuration: Mapping[str, object],
    name: str,
    otherwise: float,
    most: float,
    least: float = 1,
) -> float:
    """As the first report planned, where it says so; a report from elsewhere may hold anything."""
    value = configuration.get(name)
    if isinstance(value, int | float) and least <= value <= most:
        return float(value)
    return otherwise


def machine_plan(
    path: Path,
    report: Report,
    throughput: Throughput,
    request: PlanRequest,
    iterations: int,
    games: Games,
    reuse: float,
    price_per_hour: float | None,
) -> MachinePlan:
    """The plan from one device of one report. Raises UserError if a rate is unknown."""
    measured = rates_of(throughput, report.metrics, report.phases)
    rates = _with_assumed_training(measured, request.examples_per_second)
    try:
        made = plan_with(rates, iterations, games.mean, reuse)
        ends = [plan_with(rates, iterations, g, reuse).minutes_per_iteration for g in games]
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    energy = energy_of(report, throughput, made)
    memory = memory_of(report, throughput, request.card_gb)
    return MachinePlan(
        report=os.fsencode(path.name).decode(errors="replace"),
        machine=_machine(report, throughput),
        device=throughput.device,
        command=report.command,
        started_utc=report.started_utc,
        verdict=report.verdict,
        broken_rules=broken_rules(report),
        plan=made,
        growth=IterationMinutes(first=ends[0], last=ends[1]) if games.first != games.last else None,
        notes=notes(report, measured, rates),
        needed=None if request.days is None else needed(request.days, made, games.mean, rates),
        energy=energy,
        costs=costs(made, energy, price_per_hour, request.price_per_kwh),
        memory=None if isinstance(memory, str) else memory,
        memory_reason=memory if isinstance(memory, str) else None,
    )


def broken_rules(report: Report) -> list[str]:
    """One line per reason why a report is no evidence; empty if it is valid."""
    broken = [
        f"{rule.rule}: {rule.observed}, needed {rule.needed}"
        for rule in report.validity
        if not rule.ok
    ]
    return cut_short(report) + broken


def notes(report: Report, measured: Rates, rates: Rates) -> list[str]:
    """Lines that say what a plan assumes and what it leaves out."""
    said = []
    if not report.validity:
        said.append("the report does not hold its rules of validity")
    if rates.examples_per_second is None:
        said.append(
            "self-play only: the run did not train, so the plan has no training; "
            "give its speed with --examples-per-second"
        )
    elif measured.examples_per_second is None:
        speed = figure(rates.examples_per_second.value or 0.0)
        said.append(f"training at {speed} examples/s is assumed, not measured")
    if not measured.iteration_seconds:
        said.append("not measured, so not in the plan: ramp-up, last wave and weight refresh")
    return said


def needed(days: float, made: Plan, games: float, rates: Rates) -> Needed:
    """The self-play rate with which the training ends within `days`, or why no rate does."""
    rate = games_per_minute_for(days, made, games)
    measured = rates.games_per_minute.value
    if rate is None:
        others = sum(t.days_saved_if_free for t in made.terms if t.name != "self-play")
        reason = f"not possible: training and fixed costs alone take {figure(others)} days"
        return Needed(days=days, games_per_minute=None, reason=reason)
    return Needed(days=days, games_per_minute=rate, factor=rate / measured if measured else None)


def costs(
    made: Plan, energy: Metric, price_per_hour: float | None, price_per_kwh: float | None
) -> list[Metric]:
    """Costs of the machine's hours and of its GPUs' energy, if a price is given for them."""
    found = []
    if price_per_hour is not None:
        cost = made.days * 24 * price_per_hour
        found.append(Metric(name=f"cost at {price_per_hour:g} an hour", value=cost, unit=""))
    if price_per_kwh is not None:
        found.append(
            Metric(
                name=f"cost at {price_per_kwh:g} a kWh",
                value=None if energy.value is None else energy.value * price_per_kwh,
                unit="",
                reason=energy.reason,
            )
        )
    return found


def _with_assumed_training(rates: Rates, examples_per_second: float | None) -> Rates:
    """The measured rates, with the user's training rate if the run did not train."""
    if rates.examples_per_second is not None or examples_per_second is None:
        return rates
    assumed = Metric(
        name=EXAMPLES_PER_SECOND,
        value=examples_per_second,
        unit="examples/s",
        interval=Interval(low=examples_per_second, high=examples_per_second),
        reason="assumed",
    )
    return rates._replace(examples_per_second=assumed)


def _usable(path: Path, report: Report, accept_invalid: bool) -> list[Throughput]:
    """The throughputs of a report. Raises UserError if it has none or is no valid evidence."""
    broken = broken_rules(report)
    if broken and not accept_invalid:
        raise UserError(
            f"{path}: no evidence for a plan ({broken[0]}); --accept-invalid uses it anyway"
        )
    if not report.throughput:
        raise UserError(f"{path}: no self-play was measured, so no plan is possible")
    return report.throughput


def _machine(report: Report, throughput: Throughput) -> str:
    """The machine's label, else its CPU, cores and GPUs."""
    if report.machine.label:
        return report.machine.label
    cpu = f"{report.machine.cpu}, {report.machine.cores_usable} cores"
    if not Device.of(throughput.device).on_cuda or not report.gpus:
        return cpu
    return f"{len(report.gpus)} × {report.gpus[0].name}, {cpu}"
