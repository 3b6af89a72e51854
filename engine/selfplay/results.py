"""What a call of the engine collects while it runs, and what it returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.search.examples import Examples
from engine.selfplay.game_slots import GameSlots
from engine.selfplay.telemetry import EngineEvent, Progress
from engine.selfplay.worker_messages import ThreadProgress

ProgressCallback = Callable[[Progress], None]
MessageCallback = Callable[[ThreadProgress], None]


class SelfPlayResult(NamedTuple):
    """Finished games."""

    examples: Examples
    """All searched decisions, games in the order of their numbers; empty from `play_until`."""
    games: int
    seconds: float
    tally: NDArray[np.void]
    """[] of dtype TALLY: the counters of this call."""
    events: list[EngineEvent]
    weights_ages: dict[int, int]
    """Number of games by the age of the weights they ended with: how often the engine's weights
    had been replaced since; 0 is the newest."""


@dataclass
class Call:
    """What the messages of one call of generate_games or play_until add up to."""

    wanted: int | None
    """Games asked for; None: until the caller has enough."""
    slots: GameSlots | None
    """Where examples go; None: they are dropped."""
    first_game: int
    on_message: MessageCallback | None
    finished: int = 0
    """Games."""
    ages: Counter[int] = field(default_factory=Counter)

    def take(self, message: ThreadProgress, games: list[int], weights_age: int | None) -> None:
        """Take in a search thread's message, in which `games` ended."""
        self.finished += len(games)
        if games and weights_age is not None:
            self.ages[weights_age] += len(games)
        if games and self.slots is not None and message.examples is not None:
            self.slots.put_games(message.examples, games, self.first_game)
        if self.on_message is not None:
            self.on_message(message)
