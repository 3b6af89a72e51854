"""The strength of a training as it is told: what was spent, how far ahead, when it was level."""

from __future__ import annotations

import re

import pytest

import reports
from blobdiag.matches import match_record
from blobdiag.reporting.html import page
from blobdiag.reporting.learning_curve import curve_panels, learning_curve
from blobdiag.reporting.model import Report, TrainedIteration, TrainingRun
from blobdiag.reporting.strength import heads, levels, rows, spent
from engine.evaluation import MatchResult


def iteration(number: int, **ahead: tuple[float, float]) -> TrainedIteration:
    """1,000 games, 36 s on two cores; (difference, standard error) of each match."""
    return TrainedIteration(
        iteration=number,
        games=1000,
        determinizations=3,
        simulations=30,
        chunks=1,
        self_play_seconds=30.0,
        evaluations_per_game=1100.0,
        examples=15_000,
        buffer_examples=15_000,
        steps=100,
        training_seconds=6.0,
        learning_rate=1e-3,
        policy_loss=1.2,
        value_loss=None if number == 1 else 0.5,
        weights_hash="",
        weights_ages={0: 1000},
        mean_age=0.0,
        mean_uses=4.0,
        core_seconds=72.0,
        evaluation_seconds=100.0,
        matches=[
            match_record("search 3 × 30", name, MatchResult(201, mean, error, 0.5, 0.4))
            for name, (mean, error) in ahead.items()
        ],
    )


RUN = TrainingRun(
    wanted=4,
    iterations=[
        iteration(1),
        iteration(2, random=(3.0, 0.1), rules=(-0.6, 0.1)),
        iteration(3, random=(3.5, 0.1), rules=(-0.4, 0.1)),
        iteration(4, random=(3.6, 0.1), rules=(-0.2, 0.1), raw=(0.1, 0.2)),
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
    assert so_far.games.tolist() == [1000, 2000, 3000, 4000]
    assert so_far.minutes.tolist() == pytest.approx([1.2, 2.4, 3.6, 4.8])
    assert so_far.unit == "core-min"
    on_gpu = spent(ON_A_GPU)
    assert on_gpu.minutes.tolist() == pytest.approx([0.6, 1.2, 1.8, 2.4])
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


def test_level_is_when_the_whole_interval_is_above_the_bar() -> None:
    """-0.4 ± 0.2 reaches below -0.5; -0.2 ± 0.2 does not."""
    random, rules, _ = levels(ON_A_GPU)
    assert rules == "level with rules, surely above -0.5 points: after 4,000 games, 2.4 min"
    assert random == "level with random, surely above -0.5 points: after 2,000 games, 1.2 min"
    early = RUN.model_copy(update={"iterations": RUN.iterations[:3]})
    assert levels(early)[1].endswith("not reached")


def test_the_curve_draws_what_is_known() -> None:
    panels = curve_panels(RUN)
    assert [panel.title for panel in panels] == [
        "Loss, nats",
        *(f"Points a deal ahead of: {name}" for name in ("random", "rules", "raw")),
        "Bids made exactly against: random, %",
    ]
    policy, value = panels[0].curves
    assert policy.games == [1000, 2000, 3000, 4000]
    assert (value.games, value.values) == ([2000, 3000, 4000], [0.5, 0.5, 0.5])
    assert panels[2].curves[0].values == [-0.6, -0.4, -0.2]
    for width in (1000.0, 328.0):
        svg = learning_curve(RUN, width)
        assert "Points a deal ahead of: rules" in svg
        assert "core-min" in svg


def test_the_page_has_a_curve_where_there_are_two_iterations() -> None:
    assert "Learning curve" in page(report(RUN))
    shown = " ".join(re.sub(r"<[^>]+>", " ", page(report(RUN))).split())
    assert "level with rules, surely above -0.5 points: after 4,000 games" in shown
    one = RUN.model_copy(update={"iterations": RUN.iterations[:1]})
    assert "Learning curve" not in page(report(one))
