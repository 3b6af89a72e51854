"""Formatting of figures for people."""

from __future__ import annotations

from blobdiag.model.base import Interval, Metric

UNKNOWN = "–"


def figure(value: float) -> str:
    """A number with about three significant digits and thousands separators, never rounded to 0."""
    size = abs(value)
    if size >= 1_000 or value == round(value):
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.01 else f"{value:.1e}"


def figure_range(interval: Interval) -> str:
    """An interval as text: '2,396 to 2,507'."""
    low, high = figure(interval.low), figure(interval.high)
    return low if low == high else f"{low} to {high}"


def signed(metric: Metric) -> str:
    """A figure with its sign: '+0.52'; '–' if it is unknown."""
    return UNKNOWN if metric.value is None else f"{metric.value:+.2f}"
