"""The trace: what is kept, and how it is thinned for the report."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobdiag.model import names
from blobdiag.model.names import BIT_MASK
from blobdiag.model.recorded import MOST_POINTS
from blobdiag.sampling.reduction import finest_metric, shortest_visible_gap
from blobdiag.sampling.trace import Samples, Span, Trace

values = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=300)

UTILIZATION = names.utilization("GPU-1")
BUFFERED = names.gpu("GPU-1", "utilization_samples")


def filled(unit: str, values: list[float | None], step: float = 1.0) -> Samples:
    samples = Samples(unit)
    for index, value in enumerate(values):
        samples.append(100 + index * step, value)
    return samples


def test_between_leaves_out_what_is_not_known() -> None:
    trace = Trace(start=100)
    for time, value in [(101.0, 1.0), (102.0, None), (103.0, 3.0), (104.0, 4.0)]:
        trace.add("a", "%", time, value)
    assert trace.between("a", 101, 103) == [1.0, 3.0]
    assert trace.between("never sampled", 0, 1e9) == []


def test_short_series_is_kept_as_it_is() -> None:
    samples = filled("%", [1.0, None, 3.0])
    assert samples.thinned(100, 3) == ([0.0, 1.0, 2.0], [1.0, None, 3.0], [1, 0, 1])


def test_bucket_means_ignore_what_is_not_known() -> None:
    samples = filled("%", [1.0, None, 3.0, 5.0, None, None, 7.0])
    assert samples.thinned(100, 4) == ([0.5, 2.5, 4.5, 6.0], [1.0, 4.0, None, 7.0], [1, 2, 0, 1])


def test_bit_masks_are_united_and_not_averaged() -> None:
    samples = filled(BIT_MASK, [1.0, 4.0, 0.0, 8.0])
    assert samples.thinned(100, 2)[1] == [5.0, 8.0]


@given(values, st.integers(1, 50))
def test_thinning_keeps_order_bounds_and_range(values: list[float | None], points: int) -> None:
    times, thinned, counts = filled("%", values).thinned(100, points)
    assert sum(counts) == sum(value is not None for value in values)
    assert len(times) == len(thinned) <= points
    assert all(a < b for a, b in pairwise(times))
    known = [v for v in values if v is not None]
    kept = [v for v in thinned if v is not None]
    assert bool(known) == bool(kept)
    if kept:
        slack = 1e-6
        assert min(known) - slack <= min(kept) <= max(kept) <= max(known) + slack


@given(
    st.lists(st.floats(0, 100), min_size=60, max_size=400),
    st.lists(st.floats(100, 500), max_size=5),
    st.integers(30, 60),
)
def test_means_between_cuts_are_those_of_every_reading(
    values: list[float], cuts: list[float], points: int
) -> None:
    thinned = filled("%", [*values]).thinned(100, points, cuts)
    assert len(thinned.times) <= points
    edges = [100.0, *sorted(cuts), 1e9]
    for start, end in pairwise(edges):
        exact = [v for i, v in enumerate(values) if start <= 100 + i < end]
        found = [
            (value, count)
            for time, value, count in zip(*thinned, strict=True)
            if value is not None and start <= 100 + time < end
        ]
        assert sum(count for _, count in found) == len(exact)
        if exact:
            mean = sum(value * count for value, count in found) / len(exact)
            assert mean == pytest.approx(fmean(exact))


def test_series_are_on_the_runs_clock_and_thinned() -> None:
    trace = Trace(start=100)
    for tick in range(5 * MOST_POINTS):
        trace.add("b", "%", 100 + tick / 5, 50.0)
    trace.add("a", "W", 101, None)
    a, b = trace.to_series()
    assert (a.name, a.unit, a.times_s, a.values) == ("a", "W", [1.0], [None])
    assert len(b.times_s) == len(b.values) == MOST_POINTS
    assert b.times_s[0] == pytest.approx(0.4)
    assert set(b.values) == {50.0}


def test_phases_end_also_by_an_exception_and_a_running_one_ends_now() -> None:
    trace = Trace()
    with pytest.raises(ValueError, match="inside"), trace.phase("warm-up", "cuda:0"):
        raise ValueError("inside")
    trace.spans.append(Span("training", trace.start + 1e-3))
    trace.spans[-1].start = trace.spans[0].end or 0.0
    ended, running = trace.to_phases()
    assert (ended.name, ended.device) == ("warm-up", "cuda:0")
    assert 0 <= ended.start_s <= ended.end_s <= running.end_s
    assert running.seconds >= 0


def test_half_added_sample_disturbs_no_reader() -> None:
    samples = Samples("%")
    seen: list[int] = []

    class Column(list[float]):
        """Reads, as another thread may, just before and after each append."""

        def append(self, value: float) -> None:
            seen.append(len(samples.between(0, 1e9)) + len(samples.thinned(0, 10)[0]))
            super().append(value)
            seen.append(len(samples.between(0, 1e9)) + len(samples.thinned(0, 10)[0]))

    samples.times, samples.values = Column(), Column()
    samples.append(1.0, 50.0)
    samples.append(2.0, 60.0)
    assert seen == [0, 0, 0, 2, 2, 2, 2, 4]


class TestShortestVisibleGap:
    def test_not_sampled(self) -> None:
        trace = Trace()
        assert shortest_visible_gap(trace, ["GPU-1"]) is None
        trace.samples["gpu/GPU-1/utilization"] = filled("%", [None, None, 1.0])
        assert shortest_visible_gap(trace, ["GPU-1"]) is None

    def test_utilization_adds_nvmls_longest_window(self) -> None:
        trace = Trace()
        trace.samples["gpu/GPU-1/utilization"] = filled("%", [0.0] * 9, step=0.2)
        assert shortest_visible_gap(trace, ["GPU-1"]) == pytest.approx(1.2)
        assert shortest_visible_gap(trace, ["GPU-2"]) is None

    def test_gpm_averages_over_the_sampling_interval(self) -> None:
        trace = Trace()
        trace.samples["gpu/GPU-1/utilization"] = filled("%", [0.0] * 9, step=0.2)
        trace.samples["gpu/GPU-1/sm_activity"] = filled("%", [0.0] * 9, step=0.2)
        assert shortest_visible_gap(trace, ["GPU-1"]) == pytest.approx(0.4)

    def test_the_drivers_buffer_is_finest_where_it_works(self) -> None:
        trace = Trace()
        trace.samples[UTILIZATION] = filled("%", [0.0] * 9, step=0.2)
        trace.samples[BUFFERED] = filled("%", [0.0] * 81, step=0.02)
        assert finest_metric(trace, "GPU-1") == ("utilization_samples", pytest.approx(0.04))

    def test_a_buffer_that_ran_dry_does_not_count(self) -> None:
        trace = Trace()
        trace.samples[UTILIZATION] = filled("%", [0.0] * 9, step=0.2)
        dry = filled("%", [0.0] * 41, step=0.02)
        dry.append(dry.times[-1] + 0.8, None)
        trace.samples[BUFFERED] = dry
        assert finest_metric(trace, "GPU-1") == ("utilization", pytest.approx(1.2))

    def test_one_late_sample_does_not_decide(self) -> None:
        trace = Trace()
        samples = filled("%", [0.0] * 9, step=0.2)
        samples.append(samples.times[-1] + 5, 0.0)
        trace.samples["gpu/GPU-1/utilization"] = samples
        assert shortest_visible_gap(trace, ["GPU-1"]) == pytest.approx(1.2)
