"""The curve of a training: losses, and points ahead of each opponent, over games and minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from blobdiag.model.base import Interval
from blobdiag.model.strength import Spent, match_against, opponents, spent
from blobdiag.model.training import TrainingRun
from blobdiag.render.plots import WIDE
from blobdiag.render.strength import thinned
from blobdiag.render.svg import (
    FIRST,
    MUTED,
    SECOND,
    canvas,
    embeddable,
    house_style,
    place,
    text_width,
    write,
)

_LEFT, _RIGHT = 40.0, 16.0
_TITLE, _TALL, _SPACE, _AXIS = 20.0, 76.0, 14.0, 36.0
_STYLES = [(FIRST, "-", "━━"), (SECOND, (0, (4, 2)), "╌╌")]


BIDDERS = ("random", "rules")
"""Opponents that bid by fixed rules: their bids are drawn beside the network's."""


class Curve(NamedTuple):
    """A line of a panel."""

    name: str
    games: list[int]
    """Played when each value was taken."""
    values: list[float]
    intervals: list[Interval | None] | None = None


class CurvePanel(NamedTuple):
    """A few curves of one unit."""

    title: str
    curves: list[Curve]
    around_zero: bool = False
    """Whether 0 separates better from worse."""


def curve_panels(run: TrainingRun) -> list[CurvePanel]:
    """The panels of a training that have data."""
    done = list(zip(spent(run).games, run.iterations, strict=True))
    some = thinned(done)
    losses = [
        Curve("policy", *_columns([(g, one.policy_loss) for g, one in some])),
        Curve("value", *_columns([(g, one.value_loss) for g, one in some])),
    ]
    panels = [CurvePanel("Loss, nats", losses)]
    for opponent in opponents(run):
        met = [(g, m) for g, one in done if (m := match_against(one, opponent)) is not None]
        found = thinned(met)
        played, ahead = _columns([(g, m.difference.value) for g, m in found])
        intervals = [m.difference.interval for _, m in found]
        curve = Curve(opponent, played, ahead, intervals)
        panels.append(CurvePanel(f"Points a deal ahead of: {opponent}", [curve], around_zero=True))
        if opponent not in BIDDERS:
            continue
        exact = [(g, 100 * match.exact_bids) for g, match in found]
        theirs = [(g, 100 * match.opponents_exact_bids) for g, match in found]
        bids = [Curve("network", *_columns(exact)), Curve(opponent, *_columns(theirs))]
        panels.append(CurvePanel(f"Bids made exactly against: {opponent}, %", bids))
    return [panel for panel in panels if any(curve.games for curve in panel.curves)]


def _columns(points: Sequence[tuple[int, float | None]]) -> tuple[list[int], list[float]]:
    """Those that are known, as games and values."""
    known = [(games, value) for games, value in points if value is not None]
    return [games for games, _ in known], [value for _, value in known]


def learning_curve(run: TrainingRun, width: float) -> str:
    """As SVG, the panels stacked; the x axis has games, and the minutes they took."""
    panels, so_far = curve_panels(run), spent(run)
    across = width - _LEFT - _RIGHT
    height = len(panels) * (_TITLE + _TALL + _SPACE) + _AXIS
    top = 0.0
    with house_style(f"learning-{width:g}"):
        figure = canvas(width, height)
        for panel in panels:
            write(figure, _LEFT, top + 13, panel.title, weight="bold")
            if len(panel.curves) > 1:
                left = _LEFT + 1.2 * text_width(panel.title) + 24
                for curve, (colour, _, mark) in zip(panel.curves, _STYLES, strict=False):
                    write(figure, left, top + 13, f"{mark} {curve.name}", color=colour)
                    left += text_width(f"{mark} {curve.name}") + 24
            axes = place(figure, _LEFT, top + _TITLE, across, _TALL)
            _draw(axes, panel, float(so_far.games[-1]))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8 if width >= WIDE else 3, integer=True))
            top += _TITLE + _TALL + _SPACE
        # All panels share one x axis; only the last labels it.
        axes.tick_params(labelbottom=True)
        axes.xaxis.set_major_formatter(lambda x, _: _below(x, so_far))
        return embeddable(figure, "Learning curve; the tables below have the same in figures")


def _below(x: float, so_far: Spent) -> str:
    """'40,000 games' above '12.2 core-min'."""
    taken = np.interp(x, [0, *so_far.games], [0, *so_far.minutes])
    return f"{x:,.0f} games\n{taken:.1f} {so_far.unit}" if x else "0"


def _draw(axes: Axes, panel: CurvePanel, end: float) -> None:
    axes.set_xlim(0, end)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:+g}" if panel.around_zero and y else f"{y:g}")
    axes.tick_params(labelbottom=False)
    axes.grid(True)
    axes.set_axisbelow(True)
    if panel.around_zero:
        axes.axhline(0, color=MUTED, linewidth=1)
    for curve, (colour, dashes, _) in zip(panel.curves, _STYLES, strict=False):
        few = len(curve.games) <= 40
        axes.plot(
            curve.games,
            curve.values,
            color=colour,
            linestyle=dashes,
            marker="o" if few else "",
            markersize=3,
            clip_on=False,
        )
        if curve.intervals and all(curve.intervals):
            lows = [interval.low for interval in curve.intervals if interval]
            highs = [interval.high for interval in curve.intervals if interval]
            axes.fill_between(curve.games, lows, highs, color=colour, alpha=0.15, linewidth=0)
