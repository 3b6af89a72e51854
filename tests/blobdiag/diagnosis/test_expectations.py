"""Expected ranges: judged, and overridden by `--expect`."""

from __future__ import annotations

import pytest

from blobdiag.diagnosis.expectations import EXPECTATIONS, with_overrides
from blobdiag.model.base import Interval, Role, Status


@pytest.mark.parametrize(
    ("name", "seen", "status"),
    [
        ("speed-up", 3.0, Status.PASS),
        ("speed-up", 50.0, Status.PASS),
        ("speed-up", 2.99, Status.FAIL),
        ("speed-up", Interval(low=2.9, high=3.2), Status.INCONCLUSIVE),
        ("speed-up", Interval(low=2.0, high=2.9), Status.FAIL),
        ("idle-gap", 1.0, Status.PASS),
        ("idle-gap", 1.1, Status.FAIL),
        ("cpu", 30.0, Status.PASS),
        ("cpu", 41.0, Status.FAIL),
        ("cpu", Interval(low=10.0, high=50.0), Status.INCONCLUSIVE),
    ],
)
def test_judging(name: str, seen: float | Interval, status: Status) -> None:
    assert EXPECTATIONS[name].judge(seen) is status


def test_overrides_replace_the_range_and_nothing_else() -> None:
    changed = with_overrides(["speed-up=5..", "idle-gap=..2.5", "cpu=1..100"])
    assert (changed["speed-up"].low, changed["speed-up"].high) == (5, None)
    assert (changed["idle-gap"].low, changed["idle-gap"].high) == (None, 2.5)
    assert (changed["cpu"].low, changed["cpu"].high) == (1, 100)
    assert changed["cpu"].role is Role.ADVISORY
    assert changed["cpu"].source == "--expect cpu=1..100"
    assert changed["vram"] == EXPECTATIONS["vram"]
    assert EXPECTATIONS["speed-up"].low == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("speed-up", "NAME=LOW..HIGH"),
        ("speed-up=3", "NAME=LOW..HIGH"),
        ("speed-up=..", "LOW or HIGH must be given"),
        ("speed-up=three..", "'three' is not a number"),
        ("speed-up=5..3", "LOW is above HIGH"),
        ("speed-up=nan..", "not finite"),
        ("idle-gap=1..", "only an upper end"),
        ("idle-gap=0.5..2", "only an upper end"),
        ("speedup=3..", "no expectation 'speedup'"),
    ],
)
def test_bad_override_is_one_line_that_lists_the_names(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="names: ") as caught:
        with_overrides([text])
    line = str(caught.value)
    assert why in line
    assert "\n" not in line
    assert all(name in line for name in EXPECTATIONS)
