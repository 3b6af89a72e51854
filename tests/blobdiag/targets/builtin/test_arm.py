"""What an arm makes of the workers' messages: blocks, rates, search health. No process starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions import new_session

from blobdiag.model.errors import UserError
from blobdiag.model.selfplay import SearchHealth
from blobdiag.model.settings import Settings
from blobdiag.targets.builtin.arm import BuiltInArm
from blobdiag.targets.builtin.iterations import Timeline
from blobdiag.targets.builtin.records import search_health
from blobdiag.targets.builtin.weights import check_workload, load_network
from blobdiag.targets.thread_log import BLOCK_SECONDS, ThreadLog
from engine.search.lanes import TALLY
from engine.selfplay.telemetry import Progress
from engine.selfplay.worker_messages import ThreadProgress

START = 5_000.0
"""Monotonic clocks do not begin at 0."""


def settings(**changes: Any) -> Settings:
    return Settings(device="cpu", network="32-2-4-64", dtype="float32", workers=2, **changes)


@pytest.fixture
def arm() -> BuiltInArm:
    return new_arm()


def new_arm(**changes: Any) -> BuiltInArm:
    made = settings(**changes)
    return BuiltInArm(made, load_network(made), "cpu")


def tally(**counts: float) -> np.ndarray:
    made = np.zeros((), TALLY)
    for name, count in counts.items():
        made[name] = count
    return made


def message(
    at: float,
    evaluations: int,
    games: Mapping[int, int] | None = None,
    pid: int = 1,
    thread: int = 0,
) -> ThreadProgress:
    """What a search thread sends `at` seconds after START; `games` maps game to evaluations."""
    return ThreadProgress(
        worker=0,
        pid=pid,
        thread=thread,
        time=START + at,
        tally=tally(evaluations=evaluations),
        stage_seconds={},
        finished=tuple((games or {}).items()),
        examples=None,
    )


# Logs


def test_a_log_is_read_between_its_stamps_and_held_beyond_them() -> None:
    log = ThreadLog()
    log.times, log.evaluations = [10.0, 12.0, 16.0], [100, 300, 500]
    times = np.array([0.0, 10.0, 11.0, 12.0, 13.0, 16.0, 99.0])
    assert log.at(times).tolist() == [100, 100, 200, 300, 350, 500, 500]


# Blocks


def test_a_window_is_cut_into_blocks_of_a_second_or_a_little_more(arm: BuiltInArm) -> None:
    arm.on_message(message(0, 0))
    arm.on_message(message(10, 1_000))
    arm.add_window(START + 2, START + 5.5, tally())
    blocks = arm.blocks()
    assert [block.seconds for block in blocks] == pytest.approx([3.5 / 3] * 3)
    assert min(block.seconds for block in blocks) >= BLOCK_SECONDS
    assert [block.evaluations for block in blocks] == [117, 117, 117]


def test_a_window_below_a_second_is_one_block(arm: BuiltInArm) -> None:
    arm.on_message(message(0, 0))
    arm.on_message(message(1, 200))
    arm.add_window(START + 0.25, START + 0.75, tally())
    [block] = arm.blocks()
    assert (block.seconds, block.evaluations, block.games) == (0.5, 100, 0)


def test_a_change_of_rate_lies_in_its_block(arm: BuiltInArm) -> None:
    for at, evaluations in ((0, 0), (1, 100), (2, 400), (3, 400)):
        arm.on_message(message(at, evaluations))
    arm.add_window(START, START + 3, tally())
    assert [block.evaluations for block in arm.blocks()] == [100, 300, 0]


def test_what_lies_between_two_windows_is_not_counted(arm: BuiltInArm) -> None:
    arm.on_message(message(0, 0, {0: 7}))
    arm.on_message(message(2.5, 250, {1: 10}))
    arm.on_message(message(4.5, 450, {2: 20, 3: 30}))
    arm.add_window(START + 1, START + 3, tally())
    arm.add_window(START + 4, START + 5, tally())
    assert [block.games for block in arm.blocks()] == [0, 1, 2]
    assert sum(block.evaluations for block in arm.blocks()) == 200 + 50
    assert arm.games_in_windows == [10, 20, 30]
    assert arm.throughput().window_seconds == pytest.approx(3)


def test_threads_and_a_replaced_worker_add_up(arm: BuiltInArm) -> None:
    """The lost worker's count stays where it was; that of the new one starts at 0."""
    for thread in (0, 1):
        arm.on_message(message(0, 0, pid=1, thread=thread))
        arm.on_message(message(1, 100, pid=1, thread=thread))
    arm.on_message(message(2, 0, pid=2))
    arm.on_message(message(3, 50, pid=2))
    arm.add_window(START, START + 3, tally())
    assert [block.evaluations for block in arm.blocks()] == [200, 0, 50]


def test_an_arm_that_was_told_nothing_has_empty_blocks_and_no_rate_of_games(
    arm: BuiltInArm,
) -> None:
    arm.add_window(START, START + 2, tally())
    assert [(block.evaluations, block.games) for block in arm.blocks()] == [(0, 0), (0, 0)]
    throughput = arm.throughput()
    assert throughput.games_per_minute.value is None
    assert throughput.games_per_minute.reason == "no game finished within the window"
    assert throughput.mean_batch is None


@given(
    st.lists(st.integers(0, 500), min_size=3, max_size=20),
    st.floats(0.01, 0.99),
    st.floats(0.02, 8.0),
)
def test_blocks_fill_their_window_and_lose_no_evaluation(
    steps: list[int], begin: float, seconds: float
) -> None:
    arm = ARM
    arm.windows, arm._tallies = [], []
    arm._logs.clear()
    counts = np.concatenate([[0], np.cumsum(steps)])
    for i, count in enumerate(counts):
        arm.on_message(message(0.5 * i, int(count)))
    arm.add_window(START + begin, START + begin + seconds, tally())
    blocks = arm.blocks()
    assert sum(block.seconds for block in blocks) == pytest.approx(seconds)
    ends = np.interp([begin, begin + seconds], 0.5 * np.arange(len(counts)), counts)
    done = sum(block.evaluations for block in blocks)
    assert done == pytest.approx(ends[1] - ends[0], abs=0.5 * len(blocks) + 0.01)


ARM = new_arm()


# Throughput


def test_throughput_is_evaluations_over_those_of_a_mean_game() -> None:
    """100 evaluations a second and games of 20 and 30 evaluations: 240 games a minute."""
    arm = new_arm(lanes=3)
    arm.on_message(message(0, 0, {0: 999}))
    for second in range(1, 8):
        arm.on_message(message(second, 100 * second, {2 * second: 20, 2 * second + 1: 30}))
    arm.warm_up_seconds = 0.25
    arm.add_window(START + 0.5, START + 6.5, tally(evaluations=600, distinct=594, decisions=60))
    throughput = arm.throughput()
    assert throughput.evaluations_per_second.value == pytest.approx(100)
    assert throughput.games_per_minute.value == pytest.approx(100 * 60 / 25)
    assert throughput.games_per_minute.interval is not None
    assert throughput.games == 12
    assert throughput.games_by_evaluations == {20: 6, 30: 6}
    assert (throughput.window_seconds, throughput.warm_up_seconds) == (6, 0.25)
    assert len(throughput.blocks) == 6
    assert throughput.search_health.distinct_share == pytest.approx(0.99)
    assert throughput.search_health.evaluations_per_decision == pytest.approx(10)
    assert (throughput.device, throughput.dtype, throughput.workers) == ("cpu", "float32", 2)
    assert (throughput.threads, throughput.lanes) == (1, 6)


def test_search_health_is_that_of_all_windows(arm: BuiltInArm) -> None:
    arm.add_window(START, START + 1, tally(evaluations=100, distinct=100))
    arm.add_window(START + 2, START + 3, tally(evaluations=300, distinct=100))
    assert arm.throughput().search_health.distinct_share == pytest.approx(0.5)


# Search health


def test_search_health_reads_the_counters() -> None:
    health = search_health(
        tally(
            evaluations=1_000,
            distinct=990,
            simulations=900,
            shallow_ends=100,
            deep=600,
            decisions=50,
            kl=5.0,
            games=4,
            game_evaluations=880,
        ),
        trained=True,
    )
    assert health == SearchHealth(
        distinct_share=0.99,
        deep_share=0.75,
        mean_kl_nats=0.1,
        evaluations_per_game=220,
        evaluations_per_decision=20,
        trained_weights=True,
        reason=None,
    )


def test_a_search_that_was_not_seen_has_no_health_but_a_reason() -> None:
    health = search_health(tally(), trained=False)
    assert health.model_dump(exclude={"trained_weights", "reason"}) == {
        "distinct_share": None,
        "deep_share": None,
        "mean_kl_nats": None,
        "evaluations_per_game": None,
        "evaluations_per_decision": None,
    }
    assert health.reason == (
        "the window saw no network evaluation, no simulation with room to go deeper, "
        "no searched decision, no finished game"
    )


FULL = {
    "evaluations": 10,
    "distinct": 10,
    "simulations": 9,
    "shallow_ends": 3,
    "deep": 6,
    "decisions": 2,
    "kl": 0.2,
    "games": 1,
    "game_evaluations": 10,
}


@pytest.mark.parametrize(
    ("changes", "unknown", "reason"),
    [
        (
            {"evaluations": 0, "distinct": 0},
            {"distinct_share"},
            "the window saw no network evaluation",
        ),
        (
            {"shallow_ends": 9, "deep": 0},
            {"deep_share"},
            "the window saw no simulation with room to go deeper",
        ),
        (
            {"decisions": 0, "kl": 0.0},
            {"mean_kl_nats", "evaluations_per_decision"},
            "the window saw no searched decision",
        ),
        (
            {"games": 0, "game_evaluations": 0},
            {"evaluations_per_game"},
            "the window saw no finished game",
        ),
    ],
)
def test_only_what_has_no_count_is_unknown(
    changes: dict[str, float], unknown: set[str], reason: str
) -> None:
    health = search_health(tally(**FULL | changes), trained=False)
    assert {name for name, value in health if value is None} == unknown
    assert health.reason == reason


def test_a_measured_zero_is_a_zero() -> None:
    health = search_health(tally(**FULL | {"distinct": 0, "deep": 0, "kl": 0.0}), trained=False)
    assert (health.distinct_share, health.deep_share, health.mean_kl_nats) == (0, 0, 0)
    assert health.reason is None


# The steady stretch of an iteration


def progress(at: float, games: int, settled: bool) -> Progress:
    return Progress(START + at, games, 60, tally(games=games), settled)


def timeline(arm: BuiltInArm) -> Timeline:
    settings = arm.settings
    return Timeline(new_session(settings), arm)


def test_the_steady_stretch_ends_before_lanes_run_empty() -> None:
    arm = new_arm(lanes=6)
    seen = timeline(arm)
    steps = ((0, 0, False), (1, 14, True), (2, 30, True), (3, 48, True), (4, 55, True))
    for at, games, settled in steps:
        seen.on_progress(progress(at, games, settled))
    assert arm.windows == [(START + 1, START + 3)]
    assert int(arm._tallies[0]["games"]) == 48 - 14


def test_an_iteration_that_is_never_steady_has_no_window() -> None:
    """Lanes ran empty before all were seen to have finished a game: nothing can be said."""
    arm = new_arm(lanes=6)
    seen = timeline(arm)
    for at, games, settled in ((0, 0, False), (1, 50, True), (2, 55, True), (3, 60, True)):
        seen.on_progress(progress(at, games, settled))
    assert arm.windows == []


# Bad input


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"players": 9}, "players must be 3 to 8"),
        ({"players": 2}, "players must be 3 to 8"),
        ({"cards": 14}, "cards"),
        ({"network": "32-2-4"}, "EMB-LAYERS-HEADS-FF"),
        ({"device": "gpu"}, "device must be"),
    ],
)
def test_what_cannot_be_played_is_one_line(changes: dict[str, Any], words: str) -> None:
    wrong = Settings(**{"device": "cpu"} | changes)
    with pytest.raises(UserError, match=words) as caught:
        check_workload(wrong)
    assert "\n" not in str(caught.value)
