"""Expected values of a run, as data: each with its role, its range and its source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf, isfinite

from blobdiag.model.base import Interval, Role, Status


@dataclass(frozen=True)
class Expectation:
    """A range, in `unit`, that an observed figure should lie in; one end may be open (None).

    The upper end of a deciding range is advisory (a fast engine may be 50 times as fast as the
    CPU), unless there is no lower end.
    """

    name: str
    role: Role
    low: float | None
    high: float | None
    unit: str
    source: str

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.low is None:
            return f"≤ {self.high:g}{unit}"
        if self.high is None:
            return f"≥ {self.low:g}{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"

    def judge(self, seen: float | Interval) -> Status:
        """PASS if the whole interval is in the range, FAIL if none of it is, else INCONCLUSIVE."""
        bounds = seen if isinstance(seen, Interval) else Interval(low=seen, high=seen)
        floor = -inf if self.low is None else self.low
        upper_counts = self.role is Role.ADVISORY or self.low is None
        ceiling = self.high if upper_counts and self.high is not None else inf
        if floor <= bounds.low and bounds.high <= ceiling:
            return Status.PASS
        if bounds.high < floor or ceiling < bounds.low:
            return Status.FAIL
        return Status.INCONCLUSIVE

    def above(self, value: float) -> bool:
        """Whether a figure exceeds the advisory upper end."""
        return self.high is not None and self.low is not None and value > self.high


_DECIDING, _ADVISORY = Role.DECIDING, Role.ADVISORY

EXPECTATIONS: dict[str, Expectation] = {
    name: Expectation(name, role, low, high, unit, f"docs/expectations.md#{name}")
    for name, role, low, high, unit in (
        ("self-play-gpu", _DECIDING, 70, 100, "%"),
        ("training-gpu", _DECIDING, 90, 100, "%"),
        ("speed-up", _DECIDING, 3, 10, "×"),
        ("idle-gap", _DECIDING, None, 1, "s"),
        ("distinct-share", _DECIDING, 0.99, None, ""),
        ("bare-network-share", _DECIDING, 0.35, None, ""),
        ("deep-share", _ADVISORY, 0.5, None, ""),
        ("visit-kl", _ADVISORY, 0.05, None, "nats"),
        ("cpu", _ADVISORY, 20, 40, "%"),
        ("vram", _ADVISORY, 3, 4, "GB"),
        ("gpu-games", _ADVISORY, 50, 150, "games/min"),
        ("cpu-games", _ADVISORY, 10, 20, "games/min"),
    )
}
"""By name; docs/expectations.md gives the source of each."""


def with_overrides(overrides: Iterable[str]) -> dict[str, Expectation]:
    """The expectations by name, with the default range replaced by each `NAME=LOW..HIGH`.

    One end may be empty: `speed-up=5..`, `idle-gap=..2`. Raises ValueError, with a one-line message
    that lists the names, for anything else.
    """
    expectations = dict(EXPECTATIONS)
    for text in overrides:
        name, low, high = _parse(text)
        old = expectations[name]
        expectations[name] = replace(old, low=low, high=high, source=f"--expect {text}")
    return expectations


def _parse(text: str) -> tuple[str, float | None, float | None]:
    name, equals, span = text.partition("=")
    name = name.strip()
    left, dots, right = span.partition("..")
    if not equals or not dots:
        raise _bad(text, "expected NAME=LOW..HIGH")
    if name not in EXPECTATIONS:
        raise _bad(text, f"there is no expectation {name!r}")
    low, high = _bound(text, left), _bound(text, right)
    if low is None and high is None:
        raise _bad(text, "LOW or HIGH must be given")
    if low is not None and high is not None and low > high:
        raise _bad(text, "LOW is above HIGH")
    if EXPECTATIONS[name].low is None and (low is not None or high is None):
        raise _bad(text, "it takes only an upper end: ..HIGH")
    return name, low, high


def _bound(text: str, side: str) -> float | None:
    if not side.strip():
        return None
    try:
        value = float(side)
    except ValueError:
        raise _bad(text, f"{side.strip()!r} is not a number") from None
    if not isfinite(value):
        raise _bad(text, f"{side.strip()!r} is not finite")
    return value


def _bad(text: str, why: str) -> ValueError:
    return ValueError(f"--expect {text!r}: {why} (names: {', '.join(EXPECTATIONS)})")
