"""When the training is done: an iteration's minutes, term by term, times the iterations.

minutes = games ÷ rate + games × examples per game × reuse ÷ examples/s + fixed costs once,
days = minutes × iterations ÷ 1440 (design, §5, Capacity).
"""

from __future__ import annotations

from collections.abc import Mapping

from blobdiag.reporting.figures import figure
from blobdiag.reporting.model import Interval, Metric, Plan, PlanScenario, PlanTerm

MINUTES_PER_DAY = 1440

# The bug report's own scenarios and the training time it assumes for each ("Impact Analysis").
REPORT_TRAINING_MINUTES = 30.0
REPORT_SCENARIOS = {
    "CPU only, as observed": (15.0, 15.0),
    "GPU fixed, conservative": (52.5, 52.5),
    "GPU fixed, optimistic": (150.0, 200.0),
    "GPU-batched search": (500.0, 2000.0),
}


def plan(
    iterations: int,
    games_per_iteration: int,
    reuse: float,
    games_per_minute: Metric,
    examples_per_game: float,
    examples_per_second: Metric | None,
    fixed_seconds: Mapping[str, float],
) -> Plan:
    """Capacity of a machine that plays and trains at these rates.

    `reuse` is how often each new example is trained on. `fixed_seconds` holds what an iteration
    costs once, by name. `examples_per_second` is None where training is not measured: its term is
    then left out, so give an assumed one as a fixed cost. The days' interval takes both rates at
    their worst and at their best at once, so it is a little wider than 95 %.
    Raises ValueError when a rate is not known or not above 0.
    """
    if examples_per_game <= 0 and examples_per_second is not None:
        raise ValueError("no plan: examples per game are not above 0")
    play = games_per_iteration / _known(games_per_minute)
    minutes = {"self-play": play}
    formulas = {
        "self-play": f"{games_per_iteration:,} games ÷ {figure(_known(games_per_minute))}/min"
    }
    if examples_per_second is not None:
        examples = games_per_iteration * examples_per_game * reuse
        minutes["training"] = examples / _known(examples_per_second) / 60
        formulas["training"] = (
            f"{games_per_iteration:,} games × {figure(examples_per_game)} examples"
            f" × {reuse:g} reuse ÷ {figure(_known(examples_per_second))}/s"
        )
    for name, seconds in fixed_seconds.items():
        minutes[name] = seconds / 60
        formulas[name] = f"{figure(seconds)} s, once an iteration"
    total = sum(minutes.values())
    interval, reason = _days_interval(minutes, iterations, games_per_minute, examples_per_second)
    return Plan(
        iterations=iterations,
        games_per_iteration=games_per_iteration,
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


def report_scenarios(iterations: int, games_per_iteration: int) -> list[PlanScenario]:
    """The bug report's scenarios, recomputed for this plan with its own minutes of training."""
    return [
        PlanScenario(
            name=name,
            games_per_minute=Interval(low=slow, high=fast),
            days=Interval(
                low=_days(games_per_iteration / fast + REPORT_TRAINING_MINUTES, iterations),
                high=_days(games_per_iteration / slow + REPORT_TRAINING_MINUTES, iterations),
            ),
            assumption=f"{REPORT_TRAINING_MINUTES:g} min of training, the bug report's assumption",
        )
        for name, (slow, fast) in REPORT_SCENARIOS.items()
    ]


def _days(minutes: float, iterations: int) -> float:
    return minutes * iterations / MINUTES_PER_DAY


def _known(rate: Metric) -> float:
    if rate.value is None:
        raise ValueError(f"no plan: {rate.name} is not known: {rate.reason}")
    if rate.value <= 0:
        raise ValueError(f"no plan: {rate.name} is {rate.value:g}")
    return rate.value


def _days_interval(
    minutes: Mapping[str, float],
    iterations: int,
    games_per_minute: Metric,
    examples_per_second: Metric | None,
) -> tuple[Interval | None, str | None]:
    """Each measured term scaled to the ends of its rate's interval, all at once."""
    rates = {"self-play": games_per_minute}
    if examples_per_second is not None:
        rates["training"] = examples_per_second
    low = high = sum(minutes.values())
    for name, rate in rates.items():
        if rate.interval is None:
            return None, f"{rate.name}: {rate.reason or 'its interval is not known'}"
        if rate.interval.low <= 0:
            return None, f"{rate.name}: its interval reaches 0"
        low += minutes[name] * (_known(rate) / rate.interval.high - 1)
        high += minutes[name] * (_known(rate) / rate.interval.low - 1)
    return Interval(low=_days(low, iterations), high=_days(high, iterations)), None
