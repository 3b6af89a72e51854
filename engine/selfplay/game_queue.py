"""The numbers of the games still to play, and their distribution over the workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from engine.selfplay.worker_process import WorkerProcess


class GameQueue:
    """Game numbers waiting for a worker; a failed worker's games come back to the front."""

    def __init__(self) -> None:
        self.next_game = 0
        """The number of the next new game."""
        self._waiting: deque[int] = deque()

    def begin(self, games: int | None) -> None:
        """Forget what waits and enqueue `games` new ones; None: `top_up` makes them as needed."""
        self._waiting.clear()
        self._add(games or 0)

    def give_back(self, games: Sequence[int]) -> None:
        """Put the games of a failed worker, oldest first, before all others."""
        self._waiting.extendleft(reversed(games))

    def top_up(self, workers: Sequence[WorkerProcess], lanes: int, endless: bool) -> None:
        """Grant every worker a game for each of its `lanes` and a few to open next.

        The games are spread evenly, so that a few games still use all workers. `endless` makes new
        games as needed. A single worker is granted all at once: what it plays then does not depend
        on when this process gets to run.
        """
        most = lanes + max(2, lanes // 4)
        if len(workers) == 1:
            most = max(most, len(self._waiting))
        takers = [w for w in workers if w.status is not None and len(w.in_flight) < most]
        takers.sort(key=lambda worker: len(worker.in_flight))
        if endless:
            self._add(sum(most - len(w.in_flight) for w in takers) - len(self._waiting))
        for k, worker in enumerate(takers):
            share = -(-len(self._waiting) // (len(takers) - k))
            count = min(share, most - len(worker.in_flight))
            if games := [self._waiting.popleft() for _ in range(count)]:
                worker.grant(games)

    def _add(self, count: int) -> None:
        count = max(0, count)
        self._waiting.extend(range(self.next_game, self.next_game + count))
        self.next_game += count
