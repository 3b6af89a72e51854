"""Noughts and crosses at random: a real game, without a network, in the blink of an eye."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Iterator

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def play_game(seed: int, seconds: float = 0.01) -> int:
    """Play one game that takes so long; the number of its moves."""
    rng, board = random.Random(seed), [0] * 9
    for move in range(9):
        time.sleep(seconds / 9)
        player = 1 + move % 2
        board[rng.choice([i for i, owner in enumerate(board) if not owner])] = player
        if any(all(board[i] == player for i in line) for line in LINES):
            return move + 1
    return 9


class OneProcess:
    """Game after game; it counts moves as evaluations, and trains on three examples a game."""

    def __init__(self, device: str, seed: int = 0) -> None:
        self.device, self.seed = device, seed
        self.evaluations = self.played = 0

    def play(self) -> Iterator[int]:
        while True:
            self.seed += 1
            self.evaluations += play_game(self.seed)
            self.played += 1
            yield 1

    def train(self) -> Iterator[int]:
        for _ in range(10):
            time.sleep(0.02)
            yield 3 * self.played // 10

    def workers(self) -> dict[int, str]:
        return {os.getpid(): self.device}


class Queues:
    """Games in a spawned worker, which tells of them by a queue: it has named semaphores."""

    def __init__(self, device: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.queue = spawn.Queue()
        self.worker = spawn.Process(target=_tell, args=(self.queue,), daemon=True)
        self.worker.start()

    def play(self) -> Iterator[int]:
        while True:
            self.queue.get()
            yield 1


def _tell(queue: multiprocessing.Queue[int]) -> None:
    for seed in range(10**9):
        queue.put(play_game(seed))


class Pool:
    """Waves of games in forked workers. It says nothing of itself, and has no `close`."""

    def __init__(self, device: str, workers: int = 2) -> None:
        self.pool = multiprocessing.get_context("fork").Pool(workers)
        self.seeds = iter(range(10**9))

    def play(self) -> Iterator[int]:
        wave = self.pool.map(play_game, [next(self.seeds) for _ in range(40)], chunksize=1)
        yield len(wave)
