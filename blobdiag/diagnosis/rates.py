"""The rates and fixed costs that one run measured, as input of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blobdiag.model.base import Metric
from blobdiag.model.names import (
    CHECKPOINT,
    EVALUATE_EVERY,
    EVALUATION,
    EXAMPLES_MADE,
    EXAMPLES_PER_SECOND,
    EXAMPLES_TRAINED,
    GAMES_PLAYED,
    ITERATIONS,
    REPLAY_BUFFER,
    SAVING,
    SELF_PLAY,
    SET_UP,
    START_UP,
    WEIGHT_REFRESH,
)
from blobdiag.model.recorded import Phase
from blobdiag.model.selfplay import Throughput

RAMP = "ramp-up and last wave"
STARTING = (SET_UP, START_UP)
"""Phases before the first game."""


class Rates(NamedTuple):
    """What a plan needs from a run; costs are in seconds, by name."""

    games_per_minute: Metric
    examples_per_game: float | None
    """Includes repeats if the engine itself chooses how often it trains on an example."""
    examples_per_second: Metric | None
    """None: the run did not train."""
    game_seconds: dict[str, float]
    """Costs of each game."""
    iteration_seconds: dict[str, float]
    """Costs of each iteration, whatever the number of games."""
    training_seconds: dict[str, float]
    """Costs before the first iteration."""


def rates_of(throughput: Throughput, metrics: Sequence[Metric], phases: Sequence[Phase]) -> Rates:
    """The rates of an `iteration` run, or of one device of a run without training."""
    figures = {metric.name: metric for metric in metrics}
    starting = sum(_seconds(phases, name, throughput.device) for name in STARTING)
    once = {START_UP: starting} if starting else {}
    games = _value(figures, GAMES_PLAYED)
    if not games:
        examples = _decisions_per_game(throughput)
        return Rates(throughput.games_per_minute, examples, None, {}, {}, once)
    examples = _value(figures, EXAMPLES_MADE) or _value(figures, EXAMPLES_TRAINED) or 0.0
    iterations = _value(figures, ITERATIONS) or 1.0
    rate = throughput.games_per_minute.value
    steady = 60 * games / rate if rate else 0.0
    # Another project's engine has only the phases self-play and training.
    had = {phase.name for phase in phases}
    own = {REPLAY_BUFFER, WEIGHT_REFRESH} <= had
    phases = _of_finished_iterations(phases)
    return Rates(
        throughput.games_per_minute,
        examples_per_game=examples / games,
        examples_per_second=figures.get(EXAMPLES_PER_SECOND),
        game_seconds=_shares(phases, (REPLAY_BUFFER, SAVING), games) if own else {},
        iteration_seconds={
            RAMP: max(0.0, _seconds(phases, SELF_PLAY) - steady) / iterations,
            **_shares(phases, (WEIGHT_REFRESH, CHECKPOINT), iterations),
            **_matches(phases, _value(figures, EVALUATE_EVERY)),
        }
        if own
        else {},
        training_seconds=once,
    )


def _of_finished_iterations(phases: Sequence[Phase]) -> list[Phase]:
    """The phases that began before the last weight refresh, which ends an iteration.

    All phases if there is no weight refresh, as with another project's engine.
    """
    ends = [phase.end_s for phase in phases if phase.name == WEIGHT_REFRESH]
    return [phase for phase in phases if not ends or phase.start_s < max(ends)]


def _matches(phases: Sequence[Phase], every: float | None) -> dict[str, float]:
    """Seconds per iteration of the matches that are played every `every` iterations."""
    rounds = sum(phase.name == EVALUATION for phase in phases)
    if not rounds or not every:
        return {}
    return {f"{EVALUATION}, one in {every:g}": _seconds(phases, EVALUATION) / rounds / every}


def _shares(phases: Sequence[Phase], names: Sequence[str], count: float) -> dict[str, float]:
    """Seconds ÷ `count` of each of these phases that the run had."""
    there = {phase.name for phase in phases}
    return {name: _seconds(phases, name) / count for name in names if name in there}


def _seconds(phases: Sequence[Phase], name: str, device: str | None = None) -> float:
    """Total seconds of the phases with this name; with `device` without those of other devices."""
    return sum(
        phase.seconds
        for phase in phases
        if phase.name == name and (device is None or phase.device in (device, None))
    )


def _value(figures: dict[str, Metric], name: str) -> float | None:
    return figures[name].value if name in figures else None


def _decisions_per_game(throughput: Throughput) -> float | None:
    """Examples per game: each searched decision is one; None: unknown."""
    health = throughput.search_health
    if health.evaluations_per_game is None or not health.evaluations_per_decision:
        return None
    return health.evaluations_per_game / health.evaluations_per_decision
