"""The strength of a training: what was spent, how far ahead, when it was level."""

from __future__ import annotations

import re

import pytest

import reports
from blobdiag.model.report import Report
from blobdiag.model.strength import spent
from blobdiag.model.training import TrainingRun
from blobdiag.render.html import page
from blobdiag.render.learning_curve import curve_panels, learning_curve
from blobdiag.render.strength import heads, levels, rows

RUN = TrainingRun(
    wanted=4,
    iterations=[
        reports.trained_iteration(1),
        reports.trained_iteration(2, random=(3.0, 0.1), rules=(-0.6, 0.1)),
        reports.trained_iteration(3, random=(3.5, 0.1), rules=(-0.4, 0.1)),
        reports.trained_iteration(4, random=(3.6, 0.1), rules=(-0.2, 0.1), raw=(0.1, 0.2)),
    ],
    examples_by_age={},
    examples_by_uses={},
)


ON_A_GPU = RUN.model_copy(
    update={"iterations": [one.model_copy(update={"core_seconds": None}) for one in RUN.iterations]}
)


def report(run: TrainingRun) -> Report:
    return reports.minimal().model_copy(update={"training": run})


def test_on_a_cpu_cores_are_spent_and_matches_are_not_counted() -> None:
    so_far = spent(RUN)
    assert so_far.games == [1000, 2000, 3000, 4000]
    assert so_far.minutes == pytest.approx([1.2, 2.4, 3.6, 4.8])
    assert so_far.unit == "core-min"
    on_gpu = spent(ON_A_GPU)
    assert on_gpu.minutes == pytest.approx([0.6, 1.2, 1.8, 2.4])
    assert on_gpu.unit == "min"


def test_a_row_for_each_iteration_with_matches() -> None:
    assert heads(ON_A_GPU) == [
        "#",
        "games",
        "min",
        "against random",
        "against rules",
        "against raw",
    ]
    assert rows(ON_A_GPU) == [
        ["2", "2,000", "1.2", "+3.00 ± 0.20", "-0.60 ± 0.20", "–"],
        ["3", "3,000", "1.8", "+3.50 ± 0.20", "-0.40 ± 0.20", "–"],
        ["4", "4,000", "2.4", "+3.60 ± 0.20", "-0.20 ± 0.20", "+0.10 ± 0.39"],
    ]


def test_level_is_when_two_intervals_in_a_row_are_above_the_bar() -> None:
    """-0.4 ± 0.2 reaches below -0.5; -0.2 ± 0.2 does not."""
    level = "surely above -0.5 points"
    random, rules, raw = levels(ON_A_GPU)
    assert random == (
        f"level with random, {level}: after 2,000 games, 1.2 min, and in the match after it"
    )
    assert rules == f"level with rules, {level}: not reached, or by one match only"
    assert raw.endswith("by one match only")
    after = [*RUN.iterations, reports.trained_iteration(5, rules=(-0.1, 0.1))]
    longer = RUN.model_copy(update={"iterations": after})
    assert levels(longer)[1] == (
        f"level with rules, {level}: after 4,000 games, 4.8 core-min, and in the match after it"
    )


@pytest.mark.slow
def test_a_page_of_a_long_training_stays_small() -> None:
    many = [
        reports.trained_iteration(n, random=(3.0, 0.1), rules=(-0.6, 0.1)) for n in range(1, 6002)
    ]
    shown = page(report(RUN.model_copy(update={"iterations": many, "wanted": 6001})))
    assert len(shown) < 700_000
    assert "Of 6,001 iterations some are shown" in shown
    assert shown.count(">6001<") == 2, "the last one in both tables"


def test_the_curve_draws_what_is_known() -> None:
    panels = curve_panels(RUN)
    assert [panel.title for panel in panels] == [
        "Loss, nats",
        "Points a deal ahead of: random",
        "Bids made exactly against: random, %",
        "Points a deal ahead of: rules",
        "Bids made exactly against: rules, %",
        "Points a deal ahead of: raw",
    ]
    policy, value = panels[0].curves
    assert policy.games == [1000, 2000, 3000, 4000]
    assert (value.games, value.values) == ([2000, 3000, 4000], [0.5, 0.5, 0.5])
    assert panels[3].curves[0].values == [-0.6, -0.4, -0.2]
    assert [curve.values[-1] for curve in panels[4].curves] == [50, 40]
    for width in (1000.0, 328.0):
        svg = learning_curve(RUN, width)
        assert "Points a deal ahead of: rules" in svg
        assert "core-min" in svg


def test_the_page_has_a_curve_where_there_are_two_iterations() -> None:
    assert "Learning curve" in page(report(RUN))
    shown = " ".join(re.sub(r"<[^>]+>", " ", page(report(RUN))).split())
    assert "level with random, surely above -0.5 points: after 2,000 games" in shown
    one = RUN.model_copy(update={"iterations": RUN.iterations[:1]})
    assert "Learning curve" not in page(report(one))
