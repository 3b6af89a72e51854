"""What a timeline shows: nothing added, nothing smoothed away."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_runs import Run

from blobdiag.model.recorded import Phase
from blobdiag.render.plots import stacked
from blobdiag.render.tracks import (
    FEWEST_POINTS,
    MOST_POINTS,
    Panel,
    TrackLine,
    drawable,
    summaries,
    tracks,
)


def _panel(values: list[float | None], step: float = 0.2) -> Panel:
    times = [step * i for i in range(len(values))]
    return Panel("GPU 0", "%", 100.0, [TrackLine("utilisation", "%", times, values)])


def test_panels_of_two_gpus_and_the_cpu() -> None:
    shown = tracks(Run(command="iteration", gpus=2, workers=2, gap_seconds=3.0).report())
    assert [panel.title for panel in shown.panels] == [
        "GPU 0, % · NVIDIA H100 80GB HBM3",
        "GPU 0 · VRAM, GiB",
        "GPU 1, % · NVIDIA H100 80GB HBM3",
        "GPU 1 · VRAM, GiB",
        "CPU of all cores, %",
    ]
    assert [len(panel.gaps) for panel in shown.panels] == [1, 0, 1, 0, 0]
    assert sorted(n for panel in shown.panels for n, _ in panel.gaps) == [1, 2]
    assert shown.panels[1].top == pytest.approx(81_559 / 1024)
    assert shown.missing == []


def test_summaries_are_the_phases_own() -> None:
    report = Run(command="iteration", gap_seconds=3.0).report()
    phase = next(phase for phase in report.phases if phase.name == "training")
    busy = next(one for one in report.series if one.name.endswith("/utilization"))
    within = [
        value
        for time, value in zip(busy.times_s, busy.values, strict=True)
        if phase.start_s <= time <= phase.end_s
    ]
    summary = summaries(tracks(report).panels, phase)[0]
    assert (summary.low, summary.high, summary.samples) == (min(within), max(within), len(within))
    assert summary.mean == pytest.approx(np.mean(within))
    nothing = summaries(tracks(report).panels, Phase(name="none", start_s=0.0, end_s=0.01))
    assert all((s.low, s.mean, s.high, s.samples) == (None, None, None, 0) for s in nothing)


def test_nothing_is_drawn_across_a_hole() -> None:
    line = TrackLine("x", "%", [0.0, 0.2, 0.4, 5.0, 5.2], [1.0, 2.0, 3.0, 4.0, 5.0])
    [panel] = drawable([Panel("x", "%", 100.0, [line])])
    drawn = panel.lines[0]
    assert drawn.values == [1.0, 2.0, 3.0, None, 4.0, 5.0]
    assert drawn.times[3] == pytest.approx(2.7)


@given(st.lists(st.none() | st.floats(0, 100), min_size=1, max_size=400))
def test_thinning_keeps_extremes_unknowns_and_order(values: list[float | None]) -> None:
    # With this many lines each may have FEWEST_POINTS.
    panels = [_panel(values)] * (MOST_POINTS // FEWEST_POINTS + 1)
    drawn = drawable(panels)[0].lines[0]
    assert len(drawn.values) <= max(FEWEST_POINTS, 3)
    assert all(a < b for a, b in pairwise(drawn.times))
    known = [v for v in values if v is not None]
    left = [v for v in drawn.values if v is not None]
    assert (min(known, default=None), max(known, default=None)) == (
        min(left, default=None),
        max(left, default=None),
    )
    assert (None in values) == (None in drawn.values)
    original = dict(zip(panels[0].lines[0].times, values, strict=True))
    assert all(original[t] == v for t, v in zip(drawn.times, drawn.values, strict=True))


def test_phases_that_overlap_are_in_rows_of_their_own() -> None:
    spans = [(0.0, 10.0), (2.0, 3.0), (3.0, 5.0), (4.0, 6.0), (10.0, 11.0)]
    phases = [Phase(name="x", start_s=start, end_s=end) for start, end in spans]
    assert stacked(phases) == [0, 1, 1, 2, 0]
