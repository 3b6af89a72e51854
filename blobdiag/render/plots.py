"""The plots of a report: the timeline, the minutes of an iteration, and the days.

Each is drawn for a width in pixels, so that its text is as large on a phone as on a desktop. A
line's dashes and label identify it; colour only repeats that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from blobdiag.model.figures import figure as figure_text
from blobdiag.model.figures import figure_range
from blobdiag.model.judgement import IdleGap
from blobdiag.model.plan import Plan
from blobdiag.model.recorded import Phase
from blobdiag.render.svg import (
    BAND,
    FIRST,
    GRID,
    IDLE,
    MUTED,
    PAPER,
    SECOND,
    canvas,
    embeddable,
    house_style,
    one_line,
    place,
    text_width,
    write,
)
from blobdiag.render.tracks import Panel, TrackLine, Tracks

WIDE, NARROW = 1000.0, 328.0
"""Pixels: of a desktop's page, and of a phone's 360 without its margins."""

_LEFT, _RIGHT = 34.0, 92.0
_RIBBON, _TITLE, _SPACE, _AXIS = 20.0, 20.0, 12.0, 24.0
_TALL, _FLAT, _KEYS = 76.0, 34.0, 15.0
_STYLES = [(FIRST, "-"), (SECOND, (0, (4, 2)))]
_WORKING = ("self-play", "training")


def timeline(tracks: Tracks, owners: Sequence[str | None], width: float) -> str:
    """Phases as bands over panels of samples, as SVG; `owners` names the code behind each idle gap.

    Raises ValueError where there is nothing to draw.
    """
    if not tracks.panels or tracks.end <= 0:
        raise ValueError("nothing was sampled")
    wide = width >= WIDE
    right = _RIGHT if wide else 6.0
    across = width - _LEFT - right
    rows = stacked(tracks.phases)
    top = _RIBBON * (max(rows, default=-1) + 1)
    heights = [_TALL if panel.unit == "%" else _FLAT for panel in tracks.panels]
    # Only on a desktop is there room for names at the lines' ends.
    keys = [0.0 if wide or len(panel.lines) == 1 else _KEYS for panel in tracks.panels]
    height = top + sum(_SPACE + _TITLE + h for h in heights) + sum(keys) + _AXIS
    name = f"timeline-{width:g}"
    with house_style(name):
        figure = canvas(width, height)
        _ribbon(place(figure, _LEFT, 0, across, top), tracks, rows, across)
        for panel, tall, key in zip(tracks.panels, heights, keys, strict=True):
            top += _SPACE + _TITLE + key
            axes = place(figure, _LEFT, top, across, tall)
            _panel(axes, panel, tracks)
            words = _Row(figure, _LEFT, _LEFT + across, top - key - 6)
            words.put(_LEFT, panel.title, weight="bold")
            if wide:
                _end_labels(figure, panel, tracks.end, top, tall, across)
            elif key:
                _keys(figure, panel, top - 6)
            _gap_labels(words, panel, tracks.end, owners)
            top += tall
        axes.tick_params(labelbottom=True)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s" if value else "0")
        return embeddable(
            figure,
            "Timeline of the run; the table below has the same in figures",
            left=_LEFT,
            right=_LEFT + across,
            end=tracks.end,
        )


def stacked(phases: Sequence[Phase]) -> list[int]:
    """A row for each phase, so that no two of a row overlap."""
    ends: list[float] = []
    rows = []
    for phase in phases:
        row = next((r for r, end in enumerate(ends) if end <= phase.start_s + 1e-3), len(ends))
        ends[row : row + 1] = [max(phase.start_s, phase.end_s)]
        rows.append(row)
    return rows


def _ribbon(axes: Axes, tracks: Tracks, rows: Sequence[int], across: float) -> None:
    """The phases as bands, with their names where these fit, else their numbers."""
    axes.set(xlim=(0, tracks.end), ylim=(max(rows, default=0) + 1, 0))
    axes.axis("off")
    for number, (phase, row) in enumerate(zip(tracks.phases, rows, strict=True), 1):
        working = phase.name in _WORKING
        axes.add_patch(
            Rectangle(
                (phase.start_s, row),
                phase.seconds,
                0.94,
                facecolor=FIRST if working else BAND,
                alpha=0.25 if working else 1.0,
                edgecolor="none",
            )
        )
        axes.plot([phase.start_s] * 2, [row, row + 0.94], color=MUTED, linewidth=0.75)
        room = phase.seconds / tracks.end * across - 6
        fitting = (t for t in (one_line(phase.name), str(number)) if text_width(t) <= room)
        if text := next(fitting, None):
            axes.text(
                phase.start_s + 4 * tracks.end / across,
                row + 0.47,
                text,
                verticalalignment="center_baseline",
                weight="bold" if working else "normal",
            )


def _panel(axes: Axes, panel: Panel, tracks: Tracks) -> None:
    top = panel.top or 1.0
    axes.set(xlim=(0, tracks.end), ylim=(0, top * 1.02))
    axes.yaxis.set_major_locator(FixedLocator([0, top / 2, top] if top == 100 else [0, top]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.tick_params(labelbottom=False)
    axes.grid(True)
    axes.set_axisbelow(True)
    for phase in tracks.phases:
        if phase.name in _WORKING:
            axes.axvspan(phase.start_s, phase.end_s, color=FIRST, alpha=0.05, linewidth=0)
    for number, gap in panel.gaps:
        _idle(axes, number, gap, top)
    for line, (colour, dashes) in zip(panel.lines, _STYLES, strict=False):
        values = [float("nan") if value is None else value for value in line.values]
        if line is panel.lines[0]:
            axes.fill_between(line.times, values, color=colour, alpha=0.1, linewidth=0)
        axes.plot(line.times, values, color=colour, linestyle=dashes)


def _idle(axes: Axes, number: int, gap: IdleGap, top: float) -> None:
    axes.axvspan(
        gap.start_s, gap.end_s, facecolor="none", edgecolor=IDLE, hatch="////", linewidth=0
    )
    axes.text(
        (gap.start_s + gap.end_s) / 2,
        0.9 * top,
        str(number),
        color=IDLE,
        weight="bold",
        horizontalalignment="center",
        verticalalignment="top",
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5},
    )


class _Row:
    """A line of labels above a panel that do not overlap."""

    def __init__(self, figure: Figure, left: float, right: float, baseline: float) -> None:
        self.figure, self.left, self.right, self.baseline = figure, left, right, baseline
        self.taken: list[tuple[float, float]] = []

    def put(self, left: float, text: str, **style: object) -> bool:
        """Write, moved to fit into the row; False where there is no room."""
        text = one_line(text)
        width = text_width(text) * (1.12 if style.get("weight") == "bold" else 1.0)
        left = min(left, self.right - width)
        if left < self.left or any(left < b + 8 and a - 8 < left + width for a, b in self.taken):
            if self.taken:
                return False
            text = text[: int(len(text) * (self.right - self.left) / width) - 1] + "…"
            left, width = self.left, self.right - self.left
        self.taken.append((left, left + width))
        write(self.figure, left, self.baseline, text, **style)
        return True


def _end_labels(
    figure: Figure, panel: Panel, end: float, top: float, tall: float, across: float
) -> None:
    """Each line's name at its right end, at least a line's height apart."""
    ends = []
    for line, (colour, _) in zip(panel.lines, _STYLES, strict=False):
        last = next((v for v in reversed(line.values) if v is not None), 0.0)
        y = top + tall * (1 - min(max(last / ((panel.top or 1.0) * 1.02), 0.0), 1.0))
        ends.append((y, line, colour))
    lowest = top + tall - 13 * (len(ends) - 1)
    for y, line, colour in sorted(ends, key=lambda entry: entry[0]):
        y = min(max(y, top + 4), lowest)
        write(figure, _LEFT + across + 6, y + 4, _short(line), color=colour)
        top, lowest = y + 9, lowest + 13


def _short(line: TrackLine) -> str:
    """'utilisation' of 'GPU 0 utilisation'."""
    return line.label.split(" ", 2)[-1]


def _keys(figure: Figure, panel: Panel, baseline: float) -> None:
    """The lines' names, each after a sample of its line."""
    left = _LEFT
    for line, mark, (colour, _) in zip(panel.lines, "━╌", _STYLES, strict=False):
        text = f"{mark * 2} {_short(line)}"
        write(figure, left, baseline, text, color=colour)
        left += text_width(text) + 28


def _gap_labels(words: _Row, panel: Panel, end: float, owners: Sequence[str | None]) -> None:
    """Number, seconds and owner of each gap, as far as there is room; the longest first."""
    scale = (words.right - words.left) / end
    for number, gap in sorted(panel.gaps, key=lambda entry: -entry[1].seconds):
        seconds = f"{number} · idle {figure_text(gap.seconds)} s"
        owner = owners[number - 1]
        for text in ([f"{seconds} · {owner}"] if owner else []) + [seconds]:
            if words.put(words.left + gap.start_s * scale, text, color=IDLE):
                break


class _Days(NamedTuple):
    """One row of the days: measured, or at an assumed rate."""

    name: str
    low: float
    high: float
    middle: float
    words: str
    measured: bool


def days(plan: Plan, width: float) -> str:
    """Days of the plan as measured, above those at assumed rates; on a logarithmic axis."""
    interval = plan.days_interval
    rows = [
        _Days(
            "measured",
            interval.low if interval else plan.days,
            interval.high if interval else plan.days,
            plan.days,
            f"{figure_text(plan.days)} days",
            True,
        )
    ]
    rows += [
        _Days(
            s.name,
            s.days.low,
            s.days.high,
            s.days.high,
            f"{figure_range(s.days)} days, assumed",
            False,
        )
        for s in plan.scenarios
    ]
    rows = [row for row in rows if row.low > 0]
    row_height, top = 34.0, 0.0
    height = row_height * len(rows) + _AXIS
    with house_style(f"days-{width:g}"):
        figure = canvas(width, height)
        axes = place(figure, 8, 0, width - 16, row_height * len(rows))
        low = min((row.low for row in rows), default=1.0)
        high = max((row.high for row in rows), default=1.0)
        axes.set_xscale("log")
        axes.set(xlim=(low / 1.3, high * 1.3), ylim=(len(rows), 0))
        axes.yaxis.set_major_locator(NullLocator())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{figure_text(value)}")
        axes.grid(True, axis="x")
        axes.set_axisbelow(True)
        for number, row in enumerate(rows):
            y = number + 0.72
            colour = FIRST if row.measured else MUTED
            fill = FIRST if row.measured else PAPER
            axes.plot([low / 1.3, high * 1.3], [y, y], color=GRID, linewidth=0.75)
            axes.plot(
                [row.low, row.high], [y, y], color=colour, linewidth=3 if row.measured else 1.5
            )
            ends = [row.middle] if row.measured else sorted({row.low, row.high})
            axes.plot(
                ends,
                [y] * len(ends),
                linestyle="none",
                marker="o",
                markersize=8 if row.measured else 6,
                markerfacecolor=fill,
                markeredgecolor=colour,
                markeredgewidth=1.5,
                clip_on=False,
            )
            write(figure, width - 8, top + 14, row.words, color=MUTED, horizontalalignment="right")
            words = _Row(figure, 8, width - 16 - text_width(row.words), top + 14)
            words.put(8, row.name, weight="bold" if row.measured else "normal")
            top += row_height
        return embeddable(figure, "Days measured and days assumed; the table has the same")


def minutes(plan: Plan, width: float) -> str:
    """An iteration's minutes as one bar of its terms."""
    bar = 22.0
    with house_style(f"minutes-{width:g}"):
        figure = canvas(width, 20 + bar)
        axes = place(figure, 0, 20, width, bar)
        axes.axis("off")
        total = plan.minutes_per_iteration or 1.0
        axes.set(xlim=(0, total), ylim=(0, 1))
        words = _Row(figure, 0, width, 13)
        start = 0.0
        for number, term in enumerate(plan.terms):
            axes.barh(
                0.5,
                term.minutes,
                left=start,
                height=1,
                color=FIRST,
                alpha=(0.85, 0.45)[number % 2],
                edgecolor=PAPER,
                linewidth=1,
            )
            if term.minutes / total * width > 3:
                text = f"{figure_text(term.minutes)} min, {100 * term.share:.0f} %"
                words.put(start / total * width, f"{term.name} {text}")
            start += term.minutes
        return embeddable(figure, "An iteration's minutes by term; the table has the same")
