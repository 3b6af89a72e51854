"""Ramps end where they should, the learning rate falls from all of it to its floor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.training.schedules import FLOOR, Ramp, cosine


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(2, 50))
def test_a_ramp_goes_evenly_from_end_to_end(first: int, last: int, iterations: int) -> None:
    values = [Ramp(first, last).at(i, iterations) for i in range(iterations)]
    assert (values[0], values[-1]) == (first, last)
    assert values == sorted(values, reverse=last < first)
    for i, value in enumerate(values):
        assert value == pytest.approx(first + (last - first) * i / (iterations - 1), abs=0.5)


def test_one_iteration_has_the_first_value_and_those_beyond_the_last() -> None:
    assert Ramp(10, 90).at(0, 1) == 10
    assert Ramp(10, 90).at(7, 5) == 90
    assert Ramp.level(4) == (4, 4)


def test_the_rate_falls_to_its_floor() -> None:
    rates = [cosine(done / 100) for done in range(121)]
    assert rates[0] == 1
    assert rates[50] == pytest.approx((1 + FLOOR) / 2)
    assert rates == sorted(rates, reverse=True)
    assert rates[100:] == pytest.approx([FLOOR] * 21)
