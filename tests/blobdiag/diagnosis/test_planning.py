import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobdiag.diagnosis.planning import plan, report_scenarios
from blobdiag.model.base import Interval, Metric
from blobdiag.model.plan import Plan


def _rate(name: str, value: float, interval: Interval | None = None) -> Metric:
    reason = None if interval else "only 2 blocks"
    return Metric(name=name, value=value, unit="1/x", interval=interval, reason=reason)


def _assumed(games_per_minute: Metric) -> Plan:
    """A plan without measured training, with 30 minutes assumed for it."""
    return plan(500, 10_000, 4.0, games_per_minute, 0.0, None, {"training (assumed)": 1_800.0})


@pytest.mark.parametrize(
    ("games_per_minute", "days"),
    [(15, 241.9), (52.5, 76.6), (150, 33.6), (200, 27.8), (500, 17.4), (2_000, 12.2)],
)
def test_days_of_the_bug_report(games_per_minute: float, days: float) -> None:
    assert round(_assumed(_rate("games", games_per_minute)).days, 1) == days


def test_scenarios_of_the_bug_report() -> None:
    seen = [
        (s.games_per_minute.low, round(s.days.high, 1), round(s.days.low, 1))
        for s in report_scenarios(500, 10_000)
    ]
    assert seen == [
        (15.0, 241.9, 241.9),
        (52.5, 76.6, 76.6),
        (150.0, 33.6, 27.8),
        (500.0, 17.4, 12.2),
    ]
    assert all("assumed" in s.assumption for s in report_scenarios(500, 10_000))


def test_terms_by_hand() -> None:
    made = plan(
        iterations=144,
        games_per_iteration=1_000,
        reuse=4.0,
        games_per_minute=_rate("games", 100.0, Interval(low=50.0, high=200.0)),
        examples_per_game=30.0,
        examples_per_second=_rate("examples", 1_000.0, Interval(low=500.0, high=2_000.0)),
        fixed_seconds={"start-up": 120.0, "evaluation": 60.0},
    )
    minutes = {term.name: term.minutes for term in made.terms}
    assert minutes == {"self-play": 10.0, "training": 2.0, "start-up": 2.0, "evaluation": 1.0}
    assert made.minutes_per_iteration == 15.0
    assert made.days == pytest.approx(1.5)
    assert made.days_interval is not None
    assert made.days_interval.low == pytest.approx((5.0 + 1.0 + 3.0) / 10)
    assert made.days_interval.high == pytest.approx((20.0 + 4.0 + 3.0) / 10)
    saved = {term.name: term.days_saved_if_free for term in made.terms}
    assert saved["self-play"] == pytest.approx(1.0)
    formulas = [term.formula for term in made.terms]
    assert formulas[0] == "1,000 games ÷ 100/min"
    assert formulas[1] == "1,000 games × 30 examples × 4 reuse ÷ 1,000/s"


def test_what_is_paid_once_is_spread_over_the_iterations() -> None:
    made = plan(10, 100, 4.0, _rate("games", 100.0), 0.0, None, {}, {"start-up": 120.0})
    assert {term.name: term.minutes for term in made.terms} == {"self-play": 1.0, "start-up": 0.2}
    assert made.terms[1].formula == "120 s, once ÷ 10 iterations"
    assert made.days == pytest.approx(12 / 1_440)


def test_no_interval_where_one_rate_has_none() -> None:
    sure = _rate("games", 100.0, Interval(low=90.0, high=110.0))
    made = plan(500, 10_000, 4.0, sure, 24.0, _rate("examples", 1_000.0), {})
    assert made.days_interval is None
    assert made.interval_reason == "examples: only 2 blocks"
    idle = _rate("games", 100.0, Interval(low=0.0, high=200.0))
    assert _assumed(idle).interval_reason == "games: its interval reaches 0"


def test_an_unknown_rate_gives_no_plan() -> None:
    unknown = Metric(name="games", value=None, unit="games/min", reason="none finished")
    with pytest.raises(ValueError, match="none finished"):
        _assumed(unknown)
    with pytest.raises(ValueError, match="games is 0"):
        _assumed(_rate("games", 0.0))
    with pytest.raises(ValueError, match="examples per game"):
        plan(500, 10_000, 4.0, _rate("games", 1.0), 0.0, _rate("examples", 1.0), {})


@settings(deadline=None)
@given(
    st.floats(0.1, 1e5),
    st.floats(1.0, 1e6),
    st.floats(1.0, 100.0),
    st.floats(0.0, 1e4),
    st.integers(1, 10_000),
)
def test_shares_add_up_and_the_interval_holds_the_days(
    games: float, examples: float, length: float, fixed: float, iterations: int
) -> None:
    rates = [
        _rate(n, v, Interval(low=v * 0.9, high=v * 1.1))
        for n, v in (("games", games), ("examples", examples))
    ]
    made = plan(iterations, 10_000, 4.0, rates[0], length, rates[1], {"start-up": fixed})
    assert sum(term.share for term in made.terms) == pytest.approx(1.0)
    assert sum(term.days_saved_if_free for term in made.terms) == pytest.approx(made.days)
    assert made.days_interval is not None
    assert made.days_interval.low < made.days < made.days_interval.high
