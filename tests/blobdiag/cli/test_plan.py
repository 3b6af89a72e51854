"""`blobdiag plan` on saved reports: what it reads from them, what it assumes, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import reports
from blobdiag.cli.plan import write_plan
from blobdiag.diagnosis.electricity import energy_of, watts
from blobdiag.diagnosis.machine_plans import capacity_plan
from blobdiag.diagnosis.planning import plan_with
from blobdiag.diagnosis.rates import rates_of
from blobdiag.model.base import Interval, Metric
from blobdiag.model.capacity import CapacityPlan, MachinePlan
from blobdiag.model.errors import UserError
from blobdiag.model.judgement import Validity
from blobdiag.model.plan import PlanTerm
from blobdiag.model.plan_request import Games, PlanRequest
from blobdiag.model.recorded import Event, Phase, Series
from blobdiag.model.report import Report
from blobdiag.model.report_files import write_report
from blobdiag.model.selfplay import Throughput

STEADY = Validity(rule="steady rate", observed="± 2%", needed="within ± 10%", ok=True)
UNSTEADY = STEADY.model_copy(update={"observed": "± 14%", "ok": False})
PATH = Path("mine.json")


def metric(name: str, value: float, spread: float = 0.0) -> Metric:
    around = Interval(low=value * (1 - spread), high=value * (1 + spread))
    return Metric(name=name, value=value, unit="", interval=around)


def played(device: str = "cpu", per_minute: float = 1_000.0) -> Throughput:
    rate = metric("games per minute", per_minute, 0.1)
    return reports.throughput(device, games_per_minute=rate, lanes=192, workers=2)


def iterated(device: str = "cpu", **changes: Any) -> Report:
    """500 games at 1,000 a minute in 33 s of self-play: 30 s steady, 3 s of ramp and last wave."""
    ends = {"set-up": 2.0, "start-up": 6.0, "self-play": 39.0, "replay buffer": 39.5}
    ends |= {"training": 59.5, "weight refresh": 60.0}
    starts = [0.0, *ends.values()]
    fields: dict[str, Any] = {
        "command": "iteration",
        "device": device,
        "seconds": 60.0,
        "configuration": {
            "network": "256-6-8-1024",
            "players": 4,
            "cards": 5,
            "determinizations": 3,
            "simulations": 30,
            "plan_iterations": 500,
            "plan_games": 10_000,
            "reuse": 4.0,
        },
        "phases": [
            Phase(name=name, start_s=start, end_s=end)
            for start, (name, end) in zip(starts, ends.items(), strict=False)
        ],
        "metrics": [
            metric("examples per second", 2_000.0, 0.1),
            metric("games played", 500.0),
            metric("examples made", 7_500.0),
        ],
        "throughput": [played(device)],
        "validity": [STEADY],
    }
    return reports.minimal(**fields | changes)


def compared(**changes: Any) -> Report:
    """A run that only played."""
    return iterated(**{"command": "compare", "metrics": [], "phases": []} | changes)


def made(report: Report, **asked: Any) -> MachinePlan:
    return capacity_plan([(PATH, report)], PlanRequest(**asked)).machines[0]


def terms(machine: MachinePlan) -> dict[str, PlanTerm]:
    return {term.name: term for term in machine.plan.terms}


# What a report measured


def test_every_term_by_hand() -> None:
    machine = made(iterated())
    seconds = {name: 60 * term.minutes for name, term in terms(machine).items()}
    assert seconds == pytest.approx(
        {
            "self-play": 600.0,
            "training": 10_000 * 15 * 4 / 2_000,
            "ramp-up and last wave": 3.0,
            "weight refresh": 0.5,
            "replay buffer": 0.5 * 20,
            "start-up": 6.0 / 500,
        }
    )
    assert machine.plan.days == pytest.approx(500 * sum(seconds.values()) / 86_400)
    interval = machine.plan.days_interval
    assert interval is not None
    assert interval.low < machine.plan.days < interval.high
    assert machine.notes == []


def test_an_iterations_own_games_take_as_long_as_they_took() -> None:
    report = iterated()
    rates = rates_of(report.throughput[0], report.metrics, report.phases)
    seconds = {t.name: 60 * t.minutes for t in plan_with(rates, 1, 500, 4.0).terms}
    assert seconds["self-play"] + seconds["ramp-up and last wave"] == pytest.approx(33.0)
    assert seconds["start-up"] == pytest.approx(6.0)


def test_growing_games_cost_what_each_iteration_of_them_does() -> None:
    report = iterated()
    grown = made(report, games="1000..10000", iterations=10)
    one_by_one = [made(report, games=str(g), iterations=10) for g in range(1_000, 10_001, 1_000)]
    each = [machine.plan.minutes_per_iteration for machine in one_by_one]
    assert grown.plan.minutes_per_iteration == pytest.approx(sum(each) / 10)
    assert grown.growth is not None
    assert (grown.growth.first, grown.growth.last) == pytest.approx((each[0], each[-1]))
    assert grown.plan.games_per_iteration == 5_500
    assert one_by_one[0].growth is None


def test_reuse_is_the_trainings_alone() -> None:
    once, twice = (terms(made(iterated(), reuse=r)) for r in (1.0, 2.0))
    assert twice["training"].minutes == pytest.approx(2 * once["training"].minutes)
    assert twice["self-play"].minutes == once["self-play"].minutes


def test_a_run_without_training_says_so_or_takes_the_users_figure() -> None:
    alone = made(compared())
    assert list(terms(alone)) == ["self-play"]
    assert "the plan has no training" in alone.notes[0]
    assumed = made(compared(), examples_per_second=5_000.0)
    health = reports.health()
    examples = (health.evaluations_per_game or 0) / (health.evaluations_per_decision or 1)
    assert terms(assumed)["training"].minutes == pytest.approx(10_000 * examples * 4 / 5_000 / 60)
    assert "5,000 examples/s is assumed" in assumed.notes[0]
    measured = made(iterated(), examples_per_second=5_000.0)
    assert measured.plan == made(iterated()).plan


def test_each_device_and_each_report_is_a_column() -> None:
    both = compared(throughput=[played("cpu"), played("cuda:0", 4_000.0)], device="cuda")
    whole = capacity_plan(
        [(PATH, iterated()), (PATH, both)], PlanRequest(price_per_hour=(2.0, 3.0))
    )
    assert [m.device for m in whole.machines] == ["cpu", "cpu", "cuda:0"]
    costs = [m.costs[0].value for m in whole.machines]
    days = [m.plan.days for m in whole.machines]
    assert costs == pytest.approx([24 * d * p for d, p in zip(days, (2.0, 3.0, 3.0), strict=True)])
    assert days[2] == pytest.approx(days[1] / 4)


# How fast would do


def test_the_rate_that_ends_in_time_does() -> None:
    report = iterated()
    days = made(report).plan.days
    needed = made(report, days=days / 2).needed
    assert needed is not None
    assert needed.games_per_minute is not None
    rate = needed.games_per_minute
    faster = metric("games per minute", rate)
    rates = rates_of(report.throughput[0], report.metrics, report.phases)
    again = plan_with(rates._replace(games_per_minute=faster), 500, 10_000, 4.0)
    assert again.days == pytest.approx(days / 2)
    assert needed.factor == pytest.approx(rate / 1_000)


def test_no_rate_is_enough_where_training_alone_takes_longer() -> None:
    needed = made(iterated(), days=1.0).needed
    assert needed is not None
    assert needed.games_per_minute is None
    assert needed.reason is not None
    others = 500 * (300 + 3 + 0.5 + 10 + 6 / 500) / 86_400
    assert needed.reason.endswith(f"alone take {others:.2f} days")


# Energy


def powered(name: str, unit: str, values: list[float]) -> Series:
    times = [float(t) for t in range(len(values))]
    return Series(name=f"gpu/{reports.UUID}/{name}", unit=unit, times_s=times, values=values)


def drawing(*series: Series, **changes: Any) -> Report:
    """A GPU that draws 100 W while it starts, 300 W in self-play, 500 W in training."""
    gpus = reports.full().gpus
    return iterated("cuda:0", gpus=gpus, gpu_reason=None, series=list(series), **changes)


WATTS = [100.0] * 6 + [300.0] * 34 + [500.0] * 21


def test_each_term_draws_its_phases_power() -> None:
    report = drawing(powered("power", "W", WATTS))
    plan = made(report).plan
    minutes = {term.name: term.minutes for term in plan.terms}
    short = sum(WATTS) / len(WATTS)  # no two samples fell into them
    drawn = {"self-play": 300.0, "ramp-up and last wave": 300.0, "training": 500.0}
    expected = sum(m / 60 * drawn.get(n, short) for n, m in minutes.items() if n != "start-up")
    energy = made(report, price_per_kwh=0.25)
    assert energy.energy.value == pytest.approx(500 * expected / 1_000, rel=0.02)
    assert energy.costs[0].value == pytest.approx((energy.energy.value or 0) * 0.25)
    assert "GPUs only" in (energy.energy.reason or "")


def test_matches_draw_their_own_power() -> None:
    """20 s of matches in which the GPU drew 300 W, once in two iterations."""
    report = drawing(powered("power", "W", WATTS))
    matches = Phase(name="evaluation", start_s=10, end_s=30)
    term = PlanTerm(
        name="evaluation, one in 2", formula="", minutes=1, share=1, days_saved_if_free=0
    )
    plan = made(report).plan.model_copy(update={"terms": [term], "iterations": 60})
    played = report.model_copy(update={"phases": [*report.phases, matches]})
    assert energy_of(played, report.throughput[0], plan).value == pytest.approx(0.3)


def test_the_drivers_counter_goes_before_its_power() -> None:
    counter = powered("energy", "mJ", [1_000.0 * 200 * t for t in range(61)])
    report = drawing(counter, powered("power", "W", WATTS))
    assert watts(report, [reports.UUID], [(6.0, 39.0)]) == pytest.approx(200.0)
    assert watts(report, [reports.UUID, "GPU-other"], [(6.0, 39.0)]) is None


def test_energy_that_is_not_known_has_a_reason() -> None:
    on_cpu = made(iterated(), price_per_kwh=0.3)
    assert on_cpu.energy.value is None
    assert on_cpu.energy.reason == "the power of cpu is not measured"
    assert on_cpu.costs[0].value is None
    why = {f"gpu/{reports.UUID}/power": "NVML: not supported by this GPU"}
    report = drawing(unsupported=why)
    assert energy_of(report, report.throughput[0], made(report).plan).reason == why.popitem()[1]


# Refusals


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"validity": [STEADY, UNSTEADY]}, "steady rate: ± 14%, needed within ± 10%"),
        ({"interrupted": True}, "it was interrupted"),
        (
            {"events": [Event(kind="failed", at_s=9, text="Traceback …\nValueError: loss is nan")]},
            "it failed: ValueError: loss is nan",
        ),
    ],
)
def test_a_report_that_is_no_evidence_is_refused_by_its_rule(
    changes: dict[str, Any], rule: str
) -> None:
    report = iterated(**changes)
    with pytest.raises(UserError) as refused:
        made(report)
    assert rule in str(refused.value)
    assert "--accept-invalid" in str(refused.value)
    assert made(report, accept_invalid=True).broken_rules == [rule]


def test_what_says_nothing_of_self_play_or_of_its_rules() -> None:
    with pytest.raises(UserError, match="no self-play was measured"):
        made(iterated(throughput=[]))
    unknown = Metric(name="games per minute", value=None, unit="", reason="no game finished")
    with pytest.raises(UserError, match="no game finished"):
        made(iterated(throughput=[reports.throughput("cpu", games_per_minute=unknown)]))
    assert "rules of validity" in made(iterated(validity=[])).notes[0]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"iterations": 0}, "--iterations"),
        ({"games": "many"}, "--games"),
        ({"games": "0"}, "--games"),
        ({"games": "1000..0"}, "--games"),
        ({"games": "10..20", "iterations": 1}, "--games FIRST..LAST"),
        ({"reuse": 0.0}, "--reuse"),
        ({"days": float("nan")}, "--days"),
        ({"examples_per_second": -1.0}, "--examples-per-second"),
        ({"card_gb": float("inf")}, "--card-gb"),
        ({"price_per_kwh": -0.1}, "--price-per-kwh"),
        ({"price_per_hour": (1.0, 2.0)}, "--price-per-hour"),
    ],
)
def test_bad_values_are_one_line(tmp_path: Path, asked: dict[str, Any], words: str) -> None:
    write_report(iterated(), tmp_path / "mine.json")
    with pytest.raises(UserError) as refused:
        write_plan([tmp_path / "mine.json"], PlanRequest(**asked), "table", None)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_games_are_read() -> None:
    assert Games.parse("10000") == (10_000, 10_000)
    assert Games.parse("1000..10000") == (1_000, 10_000)


# What is printed


def test_json_is_the_model_and_a_file_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(iterated(), tmp_path / "mine.json")
    asked = PlanRequest(days=2.0, card_gb=24.0)
    write_plan([tmp_path / "mine.json"], asked, "json", tmp_path / "plan.json")
    assert capsys.readouterr().out == f"{tmp_path / 'plan.json'}\n"
    saved = CapacityPlan.model_validate_json((tmp_path / "plan.json").read_text())
    again = capacity_plan([(tmp_path / "mine.json", iterated())], asked)
    assert saved == again
    with pytest.raises(UserError, match="nothing is overwritten"):
        write_plan([tmp_path / "mine.json"], asked, "json", tmp_path / "plan.json")
    with pytest.raises(UserError, match="--format"):
        write_plan([tmp_path / "mine.json"], asked, "xml", None)


def test_the_table_says_what_the_model_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(iterated(validity=[UNSTEADY]), tmp_path / "first.json")
    write_report(compared(), tmp_path / "second.json")
    asked = PlanRequest(days=3.0, accept_invalid=True, games="1000..10000", price_per_hour=(2.0,))
    write_plan([tmp_path / "first.json", tmp_path / "second.json"], asked, "table", None)
    drawn = " ".join(capsys.readouterr().out.split())
    whole = capacity_plan([(PATH, iterated(validity=[UNSTEADY])), (PATH, compared())], asked)
    for machine in whole.machines:
        assert f"{machine.plan.days:.2f}" in drawn
    assert "(invalid)" in drawn
    assert "broken rule, steady rate: ± 14%" in drawn
    assert "(self-play only)" in drawn
    assert "growing evenly" in drawn
    assert "30 min of training assumed" in drawn
    assert "is assumed" in drawn


def test_a_report_from_elsewhere_cannot_write_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = reports.minimal().machine.model_copy(update={"label": "\x1b[31mred [bold]one"})
    write_report(iterated(machine=machine), tmp_path / "mine.json")
    write_plan([tmp_path / "mine.json"], replace(PlanRequest(), days=2.0), "table", None)
    drawn = capsys.readouterr().out
    assert "\x1b" not in drawn
    assert "[bold]one" in drawn


def test_own_settings_are_the_first_reports(tmp_path: Path) -> None:
    own = iterated().configuration | {"plan_iterations": 7, "plan_games": 90, "reuse": 2.5}
    whole = capacity_plan([(PATH, iterated(configuration=own)), (PATH, iterated())], PlanRequest())
    assert (whole.iterations, whole.first_games, whole.reuse) == (7, 90, 2.5)
    assert json.loads(whole.model_dump_json())["machines"][1]["plan"]["iterations"] == 7


def test_own_settings_that_are_none_are_not_taken() -> None:
    own = iterated().configuration | {"plan_iterations": "abc", "plan_games": "x", "reuse": -1}
    whole = capacity_plan([(PATH, iterated(configuration=own))], PlanRequest())
    assert (whole.iterations, whole.first_games, whole.reuse) == (500, 10_000, 4.0)
