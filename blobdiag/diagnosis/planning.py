"""Duration of a training: minutes per iteration, term by term, times the iterations.

minutes = games ÷ games/min + games × examples per game × reuse ÷ examples/s ÷ 60 + fixed costs of
an iteration + one-time costs ÷ iterations; days = minutes × iterations ÷ 1440. This is linear in
the games, so a growing number of games costs as much as its mean.
"""

from __future__ import annotations

from collections.abc import Mapping

from blobdiag.diagnosis.rates import Rates
from blobdiag.model.base import Interval, Metric
from blobdiag.model.figures import figure
from blobdiag.model.names import SELF_PLAY, TRAINING
from blobdiag.model.plan import Plan, PlanScenario, PlanTerm

MINUTES_PER_DAY = 1440

# For comparison (docs/plan.md): games/min of workers without and with their GPU, as reported by the
# training that this project started from, and the minutes of training per iteration it assumed.
REPORT_TRAINING_MINUTES = 30.0
REPORT_SCENARIOS = {
    "CPU only, as observed": (15.0, 15.0),
    "GPU fixed, conservative": (52.5, 52.5),
    "GPU fixed, optimistic": (150.0, 200.0),
    "GPU-batched search": (500.0, 2000.0),
}


def plan_with(rates: Rates, iterations: int, games_per_iteration: float, reuse: float) -> Plan:
    """The plan from the rates of one run. Raises ValueError as `plan` does."""
    grown = {name: s * games_per_iteration for name, s in rates.game_seconds.items()}
    return plan(
        iterations,
        games_per_iteration,
        reuse,
        rates.games_per_minute,
        rates.examples_per_game or 0.0,
        rates.examples_per_second,
        rates.iteration_seconds | grown,
        rates.training_seconds,
    )


def plan(
    iterations: int,
    games_per_iteration: float,
    reuse: float,
    games_per_minute: Metric,
    examples_per_game: float,
    examples_per_second: Metric | None,
    fixed_seconds: Mapping[str, float],
    start_seconds: Mapping[str, float] | None = None,
) -> Plan:
    """The plan of a machine that plays and trains at these rates.

    `games_per_iteration` is a mean where they grow. `reuse` is how often each new example is
    trained on. `fixed_seconds` holds what an iteration costs once, `start_seconds` what the whole
    training does, by name. `examples_per_second` is None where training is not measured: its term
    is then left out, so give an assumed one as a fixed cost. The days' interval takes both rates at
    their worst and at their best at once, so it is a little wider than 95 %.
    Raises ValueError when a rate is not known or not above 0, and for a plan of nothing.
    """
    if iterations < 1 or games_per_iteration <= 0:
        raise ValueError("no plan: it has no iterations, or no games")
    if examples_per_game <= 0 and examples_per_second is not None:
        raise ValueError("no plan: the examples per game must be above 0")
    play = games_per_iteration / _known(games_per_minute)
    games = f"{figure(games_per_iteration)} games"
    minutes = {SELF_PLAY: play}
    formulas = {SELF_PLAY: f"{games} ÷ {figure(_known(games_per_minute))}/min"}
    if examples_per_second is not None:
        examples = games_per_iteration * examples_per_game * reuse
        minutes[TRAINING] = examples / _known(examples_per_second) / 60
        formulas[TRAINING] = (
            f"{games} × {figure(examples_per_game)} examples"
            f" × {reuse:g} reuse ÷ {figure(_known(examples_per_second))}/s"
        )
    for name, seconds in fixed_seconds.items():
        minutes[name] = seconds / 60
        formulas[name] = f"{figure(seconds)} s, once per iteration"
    for name, seconds in (start_seconds or {}).items():
        minutes[name] = seconds / 60 / iterations
        formulas[name] = f"{figure(seconds)} s, once ÷ {iterations:,} iterations"
    total = sum(minutes.values())
    interval, reason = _days_interval(minutes, iterations, games_per_minute, examples_per_second)
    return Plan(
        iterations=iterations,
        games_per_iteration=round(games_per_iteration),
        reuse=reuse,
        terms=[
            PlanTerm(
                name=name,
                minutes=term,
                share=term / total,
                formula=formulas[name],
                days_saved_if_free=_days(term, iterations),
            )
            for name, term in minutes.items()
        ],
        minutes_per_iteration=total,
        days=_days(total, iterations),
        days_interval=interval,
        interval_reason=reason,
        scenarios=report_scenarios(iterations, games_per_iteration),
    )


def report_scenarios(iterations: int, games_per_iteration: float) -> list[PlanScenario]:
    """Days of this plan at the rates of REPORT_SCENARIOS, for comparison."""
    return [
        PlanScenario(
            name=name,
            games_per_minute=Interval(low=slow, high=fast),
            days=Interval(
                low=_days(games_per_iteration / fast + REPORT_TRAINING_MINUTES, iterations),
                high=_days(games_per_iteration / slow + REPORT_TRAINING_MINUTES, iterations),
            ),
            assumption=f"{REPORT_TRAINING_MINUTES:g} min of training assumed",
        )
        for name, (slow, fast) in REPORT_SCENARIOS.items()
    ]


def games_per_minute_for(days: float, made: Plan, games_per_iteration: float) -> float | None:
    """The self-play rate (games/min) with which a plan, all else equal, ends within `days`.

    None if the other terms alone take longer.
    """
    others = sum(term.minutes for term in made.terms if term.name != SELF_PLAY)
    left = days * MINUTES_PER_DAY / made.iterations - others
    return games_per_iteration / left if left > 0 else None


def _days(minutes: float, iterations: int) -> float:
    return minutes * iterations / MINUTES_PER_DAY


def _known(rate: Metric) -> float:
    if rate.value is None:
        raise ValueError(f"no plan: {rate.name} unknown: {rate.reason}")
    if rate.value <= 0:
        raise ValueError(f"no plan: {rate.name} is {rate.value:g}")
    return rate.value


def _days_interval(
    minutes: Mapping[str, float],
    iterations: int,
    games_per_minute: Metric,
    examples_per_second: Metric | None,
) -> tuple[Interval | None, str | None]:
    """(interval of the days, None), with all rates at one end at once; or (None, reason)."""
    rates = {SELF_PLAY: games_per_minute}
    if examples_per_second is not None:
        rates[TRAINING] = examples_per_second
    low = high = sum(minutes.values())
    for name, rate in rates.items():
        if rate.interval is None:
            return None, f"{rate.name}: {rate.reason or 'its interval is unknown'}"
        if rate.interval.low <= 0:
            return None, f"{rate.name}: its interval reaches 0"
        low += minutes[name] * (_known(rate) / rate.interval.high - 1)
        high += minutes[name] * (_known(rate) / rate.interval.low - 1)
    return Interval(low=_days(low, iterations), high=_days(high, iterations)), None
