"""Worker processes that put single positions into a queue, and a server that evaluates them.

The server takes what is there, at most MOST_ROWS at a time, and answers each worker in a queue of
its own. Prints {"pids": {…}} when all have begun to play, and what it came to as JSON in its last
line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections import Counter
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from queue import Empty
from time import monotonic, perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from python_search import Player

from engine.game.encoding import StateEncoder

MOST_ROWS = 13
COLLECT_SECONDS = 0.002
"""How long the server waits for a batch to become full."""

Request = tuple[int, int, NDArray[np.float32]]
"""Worker, one of its games, the encoded position."""


def play(
    worker: int,
    workers: int,
    games: int,
    requests: Queue[Request],
    answers: Queue[Any],
    results: Queue[Any],
    ready: Barrier,
    ending: Event,
) -> None:
    """A worker: a request for each of its games, then what the answers allow."""
    players = [Player(worker * games + k, workers * games) for k in range(games)]
    encoder = StateEncoder()
    seconds = {"search": 0.0, "wait": 0.0}

    def ask(k: int) -> None:
        requests.put((worker, k, encoder.encode(np.array([players[k].next_leaf()]))[0]))

    for player in players:
        encoder.encode(np.array([player.next_leaf()]))  # compiled, before the clock runs
    ready.wait()
    began = perf_counter()
    for k in range(games):
        ask(k)
    seconds["search"] += perf_counter() - began
    while not ending.is_set():
        began = perf_counter()
        try:
            k, answer = answers.get(timeout=0.1)
        except Empty:
            continue
        finally:
            answered = perf_counter()
            seconds["wait"] += answered - began
        players[k].take(answer)
        ask(k)
        seconds["search"] += perf_counter() - answered
    played = {
        "worker": worker,
        "pid": os.getpid(),
        "threads": 1,
        "games": sum(player.games for player in players),
        "evaluations": sum(player.evaluations for player in players),
        "stage_seconds": seconds,
    }
    requests.cancel_join_thread()  # what nobody reads any more must not keep the process
    results.put(played)


def collect(requests: Queue[Request], first: Request) -> list[Request]:
    """The batch that begins with `first`: what comes within COLLECT_SECONDS, up to MOST_ROWS."""
    batch, deadline = [first], monotonic() + COLLECT_SECONDS
    while len(batch) < MOST_ROWS:
        try:
            batch.append(requests.get(timeout=max(0.0, deadline - monotonic())))
        except Empty:
            break
    return batch


def serve(
    seconds: float,
    network_shape: str,
    requests: Queue[Request],
    answers: list[Queue[Any]],
    ready: Barrier,
    pids: dict[str, str],
) -> dict[str, Any]:
    """Evaluate for so long; what the server did."""
    import torch

    from engine.network.blobnet import InferenceNet, NetworkConfig, build_network

    torch.set_num_threads(1)
    network = InferenceNet(build_network(NetworkConfig.parse(network_shape), "cpu"))
    histogram: Counter[int] = Counter()
    spent = {"network": 0.0, "python": 0.0, "wait": 0.0}
    evaluations = 0
    ready.wait()
    print(json.dumps({"pids": pids}), flush=True)
    start = last = perf_counter()
    while last < start + seconds:
        try:
            batch = collect(requests, requests.get(timeout=0.1))
        except Empty:
            last = perf_counter()
            continue
        collected = perf_counter()
        with torch.inference_mode():
            states = torch.from_numpy(np.stack([state for _, _, state in batch]))
            rows = network(states).numpy()
        evaluated = perf_counter()
        for row, (worker, k, _) in enumerate(batch):
            answers[worker].put((k, rows[row]))
        evaluations += len(batch)
        histogram[1 << (len(batch) - 1).bit_length()] += 1
        now = perf_counter()
        spent["wait"] += collected - last
        spent["network"] += evaluated - collected
        spent["python"] += now - evaluated
        last = now
    return {
        "worker": len(answers),
        "pid": os.getpid(),
        "threads": 1,
        "serves": True,
        "evaluations": evaluations,
        "batches": histogram.total(),
        "batch_histogram": dict(histogram),
        "stage_seconds": spent,
        "seconds": last - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--games", type=int, default=8, help="in progress a worker")
    parser.add_argument("--network", default="256-6-8-1024")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    requests: Queue[Request] = context.Queue()
    results: Queue[Any] = context.Queue()
    ready, ending = context.Barrier(arguments.workers + 1), context.Event()
    answers: list[Queue[Any]] = [context.Queue() for _ in range(arguments.workers)]
    processes = [
        context.Process(
            target=play,
            args=(
                *(worker, arguments.workers, arguments.games, requests, answers[worker]),
                *(results, ready, ending),
            ),
            daemon=True,
        )
        for worker in range(arguments.workers)
    ]
    for process in processes:
        process.start()
    pids = {str(process.pid): f"worker {n}" for n, process in enumerate(processes)}
    pids[str(os.getpid())] = "server"
    server = serve(arguments.seconds, arguments.network, requests, answers, ready, pids)
    ending.set()
    workers = sorted((results.get() for _ in processes), key=lambda one: one["worker"])
    for queue in (requests, *answers):
        queue.cancel_join_thread()
    for process in processes:
        process.join()
    seconds = server.pop("seconds")
    print(
        json.dumps(
            {
                "program": "queue_server",
                "device": "cpu",
                "seconds": seconds,
                "lanes": arguments.workers * arguments.games,
                "workers": [*workers, server],
            }
        )
    )


if __name__ == "__main__":
    main()
