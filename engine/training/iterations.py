"""What a training run is asked for, and what it keeps of each chunk of self-play and iteration.

Plain values all of them: they go to a run's folder as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.training.schedules import Ramp


class TrainingSettings(NamedTuple):
    """What a training run is asked for; ramps go from its first iteration to its last."""

    iterations: int = 1
    games: Ramp = Ramp.level(1000)
    """Of each iteration."""
    determinizations: Ramp | None = None
    """None: as the engine was made."""
    simulations: Ramp | None = None
    """Of each determinization; None: as the engine was made."""
    window: Ramp | None = None
    """Newest examples that are trained on; None: all that the buffer holds."""
    players: int = 4
    cards: int = 5
    reuse: float = 4.0
    """Times that each new example is trained on, in the mean."""
    root_noise: float = 0.25
    """Share of Dirichlet noise in the priors at the root (AlphaZero's epsilon); 0: none."""
    least_examples: int = 1
    """Nothing is trained before the buffer holds so many."""
    chunk_games: int | None = None
    """Of a chunk of self-play; None: what takes `chunk_seconds` at most, as the last one shows."""
    chunk_seconds: float = 60.0
    save_seconds: float = 60.0
    """Of training between two checkpoints."""
    evaluate_every: int | None = None
    """Play matches after every so many iterations, and after the last; None: never."""
    deals: int = 250
    """Of each match: half of the 95 % interval is then 0.35 points or so."""

    def evaluates(self, iteration: int) -> bool:
        """Whether matches follow this one, numbered from 0."""
        if self.evaluate_every is None:
            return False
        return (iteration + 1) % self.evaluate_every == 0 or iteration + 1 == self.iterations

    def check(self) -> None:
        """Raises ValueError for the first value that cannot be."""
        if self.reuse <= 0:
            raise ValueError(f"reuse must be above 0, not {self.reuse}")
        if not 0 <= self.root_noise <= 1:
            raise ValueError(f"root_noise must be from 0 to 1, not {self.root_noise}")
        for name in ("games", "determinizations", "simulations", "window"):
            ramp = getattr(self, name)
            if ramp is not None and min(ramp) < 1:
                raise ValueError(f"{name} must be at least 1, not {min(ramp)}")
        for name in ("iterations", "least_examples", "chunk_games", "evaluate_every", "deals"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


class Chunk(NamedTuple):
    """Finished games of an iteration, numbered from `first_game` on: a file of a run's folder."""

    iteration: int
    """From 0."""
    first_game: int
    games: int
    rows: int
    """Examples they gave."""
    added_before: int
    """Examples that the run had made before."""
    seconds: float
    evaluations: int
    """Of the network, in these games."""
    weights_ages: dict[str, int]
    """Iterations that the weights a game ended with were behind: games."""

    @property
    def end(self) -> int:
        """Examples that the run had made with it."""
        return self.added_before + self.rows


class IterationRecord(NamedTuple):
    """A finished iteration, all of it, whatever part was before a resume: a line of the metrics."""

    iteration: int
    """From 1."""
    games: int
    determinizations: int
    simulations: int
    chunks: int
    self_play_seconds: float
    evaluations_per_game: float
    examples: int
    buffer_examples: int
    """That training drew from."""
    steps: int
    training_seconds: float
    learning_rate: float
    """Of its last step."""
    policy_loss: float | None
    """Mean of the last tenth of the steps, nats; None: there were none."""
    value_loss: float | None
    weights_hash: str
    weights_ages: dict[str, int]
    """Iterations that the weights a game ended with were behind: games."""
    mean_age: float
    """Iterations since the buffer's examples were played."""
    mean_uses: float
    """Times each of them had been trained on when the iteration ended."""
    core_seconds: float | None = None
    """Of self-play and training: seconds × cores that they keep busy; None on a GPU."""
    evaluation_seconds: float = 0.0
    matches: Mapping[str, Mapping[str, Any]] = {}
    """By opponent: a MatchResult's values; empty where no match was played."""
