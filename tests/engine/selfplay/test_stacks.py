"""Gaps made on purpose, on the real clock: each is charged to its own line."""

from __future__ import annotations

import json
import pickle
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.network.blobnet import NetworkConfig, build_network, weights_of
from engine.search.compilation import compile_kernels
from engine.search.lanes import SearchConfig, temperature_table
from engine.selfplay.stacks import PERIOD_SECONDS, Place, StackWatch
from engine.selfplay.worker import PlayOrder, SelfPlayWorker, WorkerSpec
from engine.selfplay.worker_messages import ThreadProgress

HERE = Path(__file__).name


def sleep() -> None:
    time.sleep(1.5)  # the sleep


def pickle_much() -> None:
    pickle.dumps(MUCH)  # the pickle


def wait_for_a_lock() -> None:
    with LOCK:  # the lock
        pass


def wait_for_a_queue() -> None:
    QUEUE.get()  # the queue


def encode_json() -> None:
    json.dumps(LITTLE, indent=1)  # the json


LOCK = threading.Lock()
QUEUE: queue.Queue[int] = queue.Queue()
MUCH: list[object] = []
LITTLE = [{str(i): [i, float(i)]} for i in range(400_000)]


def line_of(mark: str) -> str:
    """file.py:LINE of the line in this file with that comment."""
    lines = Path(__file__).read_text().splitlines()
    [number] = [n for n, line in enumerate(lines, 1) if line.endswith(f"# {mark}")]
    return f"{HERE}:{number}"


@contextmanager
def in_a_second(action: Callable[[], object]) -> Iterator[None]:
    """Have another thread do something 1.5 s from now."""
    timer = threading.Timer(1.5, action)
    timer.start()
    yield
    timer.join()


def watched(gap: Callable[[], None]) -> tuple[float, dict[str, float]]:
    """The seconds a gap takes in a thread of its own, and the seconds seen at each place."""
    doing: list[str] = []

    def work() -> None:
        doing.append("gap")
        start = time.monotonic()
        gap()
        took.append(time.monotonic() - start)
        doing.clear()

    took: list[float] = []
    thread = threading.Thread(target=work)
    watch = StackWatch(lambda: [(thread.ident or 0, phase) for phase in doing])
    watch.start()
    thread.start()
    thread.join()
    time.sleep(3 * PERIOD_SECONDS)
    watch.stop()
    assert {place.phase for place in watch.seconds} == {"gap"}
    return took[0], {place.where: seconds for place, seconds in watch.seconds.items()}


def assert_charged(gap: Callable[[], None], mark: str) -> None:
    took, seconds = watched(gap)
    name = f"{line_of(mark)} {gap.__name__}"
    assert took > 0.8, "too short to say anything"
    assert 0.9 * took <= seconds[name] <= 1.1 * took, seconds
    assert seconds[name] >= 0.9 * sum(seconds.values())


def test_a_sleep_is_charged_to_its_line() -> None:
    assert_charged(sleep, "the sleep")


def test_a_pickle_that_keeps_the_interpreter_s_lock_is_charged_to_its_line() -> None:
    """The watch cannot look while it lasts: the time is counted, not the looks."""
    for i in range(2_500_000):
        MUCH.append((i, str(i)))
    try:
        assert_charged(pickle_much, "the pickle")
    finally:
        MUCH.clear()


def test_a_lock_that_another_thread_holds_is_charged_to_who_waits() -> None:
    LOCK.acquire()
    with in_a_second(LOCK.release):
        assert_charged(wait_for_a_lock, "the lock")


@pytest.mark.slow
def test_a_wait_inside_the_standard_library_is_its_caller_s() -> None:
    with in_a_second(lambda: QUEUE.put(1)):
        assert_charged(wait_for_a_queue, "the queue")
    assert_charged(encode_json, "the json")


def test_only_the_time_in_which_the_device_waits_counts() -> None:
    """Six stretches of 0.3 s in which it waits, between six in which it does not."""
    held: list[tuple[int, str]] = []
    watch = StackWatch(held.copy)
    watch.start()
    for _ in range(6):
        held.append((threading.get_ident(), "phase"))
        time.sleep(0.3)
        held.clear()
        time.sleep(0.3)
    watch.stop()
    assert sum(watch.seconds.values()) == pytest.approx(1.8, rel=0.15)


# In a worker


def played(seconds: float, games: int, send: Callable[[Any], None]) -> SelfPlayWorker:
    """A worker in this process that has played for `seconds`."""
    config = NetworkConfig(32, 2, 4, 64)
    spec = WorkerSpec(worker=0, device="cpu", network=config, dtype="float32", threads=1)
    worker = SelfPlayWorker(spec, weights_of(build_network(config, "cpu")), send)
    order = PlayOrder(SearchConfig(simulations=8), temperature_table(None, 5), 8, endless=True)
    compile_kernels()
    worker.play(order)
    worker.take_games(range(games))
    time.sleep(seconds)
    worker.pause()
    worker.watch.stop()
    return worker


def test_a_worker_s_slow_pipe_is_named() -> None:
    sent: list[ThreadProgress] = []

    def slow_pipe(message: ThreadProgress) -> None:
        sent.append(message)
        time.sleep(0.4)  # the pipe

    worker = played(2.5, 100_000, slow_pipe)
    seconds = worker.watch.seconds
    total = sum(seconds.values())
    python = sent[-1].stage_seconds["python"]  # without the last message itself
    assert python > 1.0
    assert total == pytest.approx(python + 0.4, rel=0.15)
    slow = seconds[Place("self-play", f"{line_of('the pipe')} {slow_pipe.__qualname__}")]
    assert slow >= 0.9 * total


def test_a_worker_without_games_waits_for_them() -> None:
    worker = played(1.5, 4, lambda message: None)
    seconds = worker.watch.seconds
    [longest] = [p for p, s in seconds.items() if s >= 0.9 * sum(seconds.values())]
    assert longest.where.endswith("SearchThread.idle")
    assert seconds[longest] == pytest.approx(worker.searches[0].seconds["idle"], rel=0.15)


def test_a_busy_worker_holds_nothing_up() -> None:
    worker = played(2.0, 100_000, lambda message: None)
    assert sum(worker.watch.seconds.values()) < 0.1 * 2.0
    assert worker.watch.cpu_seconds < 0.005 * 2.0
    assert np.sum(worker.searches[0].batches) > 100
