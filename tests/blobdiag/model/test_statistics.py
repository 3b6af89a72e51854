from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from blobdiag.model.selfplay import Block
from blobdiag.model.statistics import (
    MIN_ITEMS,
    evaluations_per_second,
    games_per_minute,
    rate,
    speed_ratio,
)


@pytest.mark.parametrize("items", [5, 20])
def test_interval_holds_the_truth_about_95_times_in_100(items: int) -> None:
    rng = np.random.default_rng(1)
    truth, trials, held = 1_000.0, 300, 0
    for trial in range(trials):
        seconds = rng.uniform(0.8, 1.2, items)
        counts = seconds * truth * rng.normal(1.0, 0.05, items)
        interval = rate("r", "1/s", counts.tolist(), seconds.tolist(), seed=trial).interval
        assert interval is not None
        held += interval.low <= truth <= interval.high
    # Four standard errors of a share of 300 around 0.95; plain percentiles give 0.85 of 5 blocks.
    assert 0.90 <= held / trials < 1.0


def test_interval_narrows_with_more_blocks() -> None:
    few = evaluations_per_second(reports.blocks(1_000, count=6)).interval
    many = evaluations_per_second(reports.blocks(1_000, count=60)).interval
    assert few is not None
    assert many is not None
    assert many.high - many.low < (few.high - few.low) / 2


def test_rate_is_total_over_total_not_mean_of_rates() -> None:
    blocks = [Block(seconds=1.0, evaluations=100, games=0)] * 5
    blocks += [Block(seconds=9.0, evaluations=0, games=0)] * 5
    assert evaluations_per_second(blocks).value == pytest.approx(10.0)


def test_same_seed_same_interval_other_seed_another() -> None:
    blocks = reports.blocks(1_000, count=9)
    assert evaluations_per_second(blocks, seed=3) == evaluations_per_second(blocks, seed=3)
    assert evaluations_per_second(blocks, seed=3) != evaluations_per_second(blocks, seed=4)


@settings(deadline=None)
@given(st.integers(1, MIN_ITEMS - 1))
def test_too_few_blocks_give_a_value_but_no_interval(count: int) -> None:
    metric = evaluations_per_second(reports.blocks(1_000, count=count, spread=0.0))
    assert metric.value == pytest.approx(1_000)
    assert metric.interval is None
    assert metric.reason is not None
    assert f"only {count} block" in metric.reason


def test_no_block_is_unknown_and_no_evaluation_is_zero() -> None:
    unknown = evaluations_per_second([])
    assert unknown.value is None
    assert unknown.reason == "no block was measured"
    idle = evaluations_per_second([Block(seconds=1.0, evaluations=0, games=0)] * 5)
    assert idle.value == 0.0
    assert idle.interval is not None


def test_games_per_minute_of_a_given_mean() -> None:
    metric = games_per_minute(reports.blocks(2_000, spread=0.0), 1_000.0)
    assert metric.value == pytest.approx(120.0)
    assert metric.interval is not None
    assert metric.interval.low == pytest.approx(120.0)


def test_uncertain_game_lengths_widen_the_interval() -> None:
    blocks = reports.blocks(2_000)
    exact = games_per_minute(blocks, 1_000.0)
    few = games_per_minute(blocks, Counter([700, 1_300] * 10))
    many = games_per_minute(blocks, Counter([700, 1_300] * 10_000))
    assert few.value == pytest.approx(exact.value)
    widths = [m.interval.high - m.interval.low for m in (exact, many, few) if m.interval]
    assert len(widths) == 3
    assert widths[0] * 0.9 < widths[1] < widths[2] / 2


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ({}, "no game finished within the window"),
        ({0: 20}, "the divisor is 0"),
    ],
)
def test_games_per_minute_unknown_without_a_length(lengths: dict[int, int], reason: str) -> None:
    metric = games_per_minute(reports.blocks(2_000), lengths)
    assert metric.value is None
    assert metric.reason == reason


def test_few_finished_games_give_no_interval() -> None:
    metric = games_per_minute(reports.blocks(2_000), {1_000: 3})
    assert metric.value == pytest.approx(120.0)
    assert metric.interval is None
    assert metric.reason == "only 3 finished games: an interval needs 5"


def test_the_side_with_fewer_items_sets_the_width() -> None:
    few = reports.throughput("cpu", 1_000.0, blocks=reports.blocks(1_000.0, count=6))
    many = reports.throughput("cpu", 1_000.0, blocks=reports.blocks(1_000.0, count=600))
    ratio = speed_ratio(few, many)
    alone = evaluations_per_second(few.blocks)
    assert ratio.samples == 6
    assert ratio.interval is not None
    assert alone.interval is not None
    assert alone.value is not None
    width = (alone.interval.high - alone.interval.low) / alone.value
    assert ratio.interval.high - ratio.interval.low == pytest.approx(width, rel=0.1)


def test_speed_ratio_is_of_games_not_of_evaluations() -> None:
    cpu = reports.throughput("cpu", 1_000.0, games_by_evaluations={1_000: 50})
    gpu = reports.throughput("cuda:0", 8_000.0, games_by_evaluations={2_000: 50})
    ratio = speed_ratio(gpu, cpu)
    assert ratio.value == pytest.approx(4.0)
    assert ratio.interval is not None
    assert ratio.interval.low < 4.0 < ratio.interval.high


def test_five_finished_games_are_just_enough() -> None:
    assert games_per_minute(reports.blocks(2_000), {1_000: MIN_ITEMS}).interval is not None


def test_speed_ratio_falls_back_on_the_mean_length() -> None:
    cpu, gpu = (
        reports.throughput(d, r, games_by_evaluations={})
        for d, r in (("cpu", 1_000.0), ("cuda:0", 5_000.0))
    )
    assert speed_ratio(gpu, cpu).value == pytest.approx(5.0)
    blind = reports.throughput(
        games_by_evaluations={}, search_health=reports.health(evaluations_per_game=None)
    )
    assert speed_ratio(blind, cpu).value is None
