"""How far a training run has come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.search.examples import Examples
from engine.training.iterations import Chunk, IterationRecord
from engine.training.replay import ReplayBuffer
from engine.training.trainer import StepLoss


class SavedState(NamedTuple):
    """The values of a checkpoint that are no arrays."""

    iteration: int
    step: int
    first_games: list[int]
    added: int
    """Examples ever added to the replay buffer."""
    sampler: dict[str, Any]
    training_seconds: float


@dataclass
class TrainingState:
    """What a checkpoint holds beside the trainer and the replay buffer."""

    iteration: int = 0
    """Finished iterations."""
    step: int = 0
    """Finished steps of the current iteration."""
    first_games: list[int] = field(default_factory=lambda: [0])
    """Number of the first game of every iteration begun."""
    chunks: list[Chunk] = field(default_factory=list)
    """Chunks of the current iteration."""
    losses: list[StepLoss] = field(default_factory=list)
    """Losses of the current iteration's steps."""
    training_seconds: float = 0.0
    """Seconds of the current iteration's steps."""
    records: list[IterationRecord] = field(default_factory=list)
    """Records of finished iterations; of the current one from the end of its training on."""
    games_per_second: float | None = None
    """Rate of the last chunk."""

    @property
    def next_game(self) -> int:
        """Number of the next new game."""
        return self.first_games[-1] + self.games

    @property
    def games(self) -> int:
        """Games played in the current iteration."""
        return sum(chunk.games for chunk in self.chunks)

    @property
    def examples(self) -> int:
        """Examples made in the current iteration."""
        return sum(chunk.rows for chunk in self.chunks)

    def add_chunk(self, chunk: Chunk, examples: Examples, buffer: ReplayBuffer) -> None:
        """Add a chunk to the buffer; `examples` may be only the newest of its examples."""
        buffer.added = chunk.end - examples.rows
        buffer.add(examples)
        if chunk.iteration == self.iteration:
            self.chunks.append(chunk)
        self.games_per_second = chunk.games / chunk.seconds

    def begin_iteration(self) -> None:
        """Go on to the next iteration."""
        self.first_games.append(self.next_game)
        self.iteration, self.step = self.iteration + 1, 0
        self.chunks, self.losses, self.training_seconds = [], [], 0.0


class WindowCounts:
    """Age and use of the examples in the replay buffer's window.

    `ages` [window]: iterations since each example was played; `uses` [window]: times it was
    trained on.
    """

    def __init__(self, state: TrainingState, buffer: ReplayBuffer) -> None:
        indices = buffer.window_indices
        played_in = np.searchsorted(state.first_games, buffer.examples.game[indices], side="right")
        self.ages: NDArray[np.int64] = len(state.first_games) - played_in
        self.uses: NDArray[np.int32] = buffer.uses[indices]

    @property
    def examples_by_age(self) -> dict[int, int]:
        """Number of examples by age."""
        return _counts(self.ages)

    @property
    def examples_by_uses(self) -> dict[int, int]:
        """Number of examples by uses."""
        return _counts(self.uses)


def _counts(values: np.ndarray) -> dict[int, int]:
    """How often each value occurs, in the order of the values."""
    return dict(sorted(Counter(values.tolist()).items()))
