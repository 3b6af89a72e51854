"""Self-play in the threads of one process: each searches in Python, and they share a network.

Prints {"pids": {…}} when it begins to play, and what it came to as JSON in its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from time import monotonic, perf_counter, sleep, thread_time

import numpy as np
import torch
from python_search import Player

from engine.game.encoding import STATE_DIM, StateEncoder
from engine.network.blobnet import InferenceNet, NetworkConfig, build_network

GAMES = 8
"""In progress a thread: its batches are that small."""


class Thread(threading.Thread):
    """Its own games, trees and batches; nothing is shared but the network and Python's lock."""

    def __init__(self, number: int, threads: int, network: InferenceNet) -> None:
        super().__init__(name=f"search-{number}")
        self.players = [Player(number * GAMES + k, threads * GAMES) for k in range(GAMES)]
        self.network = network
        self.going = True
        self.batches = 0
        self.seconds = {"search": 0.0, "network": 0.0, "wait": 0.0}

    def run(self) -> None:
        """Play until the end is set."""
        torch.set_num_threads(1)
        encoder = StateEncoder()
        while self.going:
            began, worked = perf_counter(), thread_time()
            states = torch.from_numpy(
                encoder.encode(np.array([p.next_leaf() for p in self.players]))
            )
            searched = thread_time()
            with torch.inference_mode():
                answers = self.network(states).numpy()
            evaluated = thread_time()
            for row, player in enumerate(self.players):
                player.take(answers[row])
            ended = thread_time()
            self.batches += 1
            self.seconds["search"] += searched - worked + ended - evaluated
            self.seconds["network"] += evaluated - searched
            # It computes nothing else: what is not its own CPU time is waiting for the lock.
            self.seconds["wait"] += perf_counter() - began - (ended - worked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--network", default="32-2-4-64")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = InferenceNet(build_network(NetworkConfig.parse(arguments.network), "cpu"))
    threads = [Thread(n, arguments.threads, network) for n in range(arguments.threads)]
    for player in (player for thread in threads for player in thread.players):
        player.next_leaf()  # compiled, before the clock runs
    with torch.inference_mode():
        network(torch.zeros(GAMES, STATE_DIM))
    print(json.dumps({"pids": {str(os.getpid()): "worker 0"}}), flush=True)
    start = monotonic()
    for thread in threads:
        thread.start()
    sleep(arguments.seconds)
    for thread in threads:
        thread.going = False
    for thread in threads:
        thread.join()
    seconds = monotonic() - start
    evaluations = sum(p.evaluations for thread in threads for p in thread.players)
    batches = sum(thread.batches for thread in threads)
    games = sum(p.games for thread in threads for p in thread.players)
    worker = {
        "worker": 0,
        "pid": os.getpid(),
        "threads": arguments.threads,
        "games": games,
        "evaluations": evaluations,
        "batches": batches,
        "batch_histogram": {GAMES: batches},
        "stage_seconds": {
            stage: sum(thread.seconds[stage] for thread in threads)
            for stage in ("search", "network", "wait")
        },
    }
    print(
        json.dumps(
            {
                "program": "threads_gil",
                "device": "cpu",
                "seconds": seconds,
                "lanes": arguments.threads * GAMES,
                "workers": [worker],
            }
        )
    )


if __name__ == "__main__":
    main()
