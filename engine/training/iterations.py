"""Settings of a training run, and records of its chunks of self-play and its iterations.

All are plain values, which a run's folder stores as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.training.schedules import Ramp


class TrainingSettings(NamedTuple):
    """Settings of a training run; ramps go from its first iteration to its last."""

    iterations: int = 1
    games: Ramp = Ramp.level(1000)
    """Games of each iteration."""
    determinizations: Ramp | None = None
    """Trees of a decision; None: the engine's own number."""
    simulations: Ramp | None = None
    """Simulations of each tree; None: the engine's own number."""
    window: Ramp | None = None
    """Newest examples that are trained on; None: all in the buffer."""
    players: int = 4
    cards: int = 5
    reuse: float = 4.0
    """Mean number of times that each new example is trained on."""
    root_noise: float = 0.25
    """Share of Dirichlet noise in the priors at the root (AlphaZero's epsilon)."""
    least_examples: int = 1
    """Training waits until the buffer holds this many examples."""
    chunk_games: int | None = None
    """Games of a chunk of self-play; None: as many as take `chunk_seconds` at the last rate."""
    chunk_seconds: float = 60.0
    save_seconds: float = 60.0
    """Seconds of training between two checkpoints."""
    evaluate_every: int | None = None
    """Play matches after every n-th iteration and after the last; None: never."""
    deals: int = 250
    """Deals of each match; with 250 the 95 % interval is about ±0.35 points."""

    def evaluates(self, iteration: int) -> bool:
        """Whether matches follow this iteration, numbered from 0."""
        if self.evaluate_every is None:
            return False
        return (iteration + 1) % self.evaluate_every == 0 or iteration + 1 == self.iterations

    def check(self) -> None:
        """Raises ValueError for the first illegal value."""
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
    """Finished games of an iteration, numbered from `first_game` on; a file in a run's folder."""

    iteration: int
    """From 0."""
    first_game: int
    games: int
    rows: int
    """Examples of these games."""
    added_before: int
    """Examples that the run made before."""
    seconds: float
    evaluations: int
    """Network evaluations in these games."""
    weights_ages: dict[str, int]
    """Number of games by the age, in iterations, of the weights they ended with."""

    @property
    def end(self) -> int:
        """Examples that the run made up to and with this chunk."""
        return self.added_before + self.rows


class IterationRecord(NamedTuple):
    """A finished iteration, parts before a resume included; a line of metrics.jsonl."""

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
    """Examples in the window that training drew from."""
    steps: int
    training_seconds: float
    learning_rate: float
    """Learning rate of the last step."""
    policy_loss: float | None
    """Mean of the last tenth of the steps, nats; None: there were no steps."""
    value_loss: float | None
    """The same for the value."""
    weights_hash: str
    """Hash of the weights after training."""
    weights_ages: dict[str, int]
    """Number of games by the age, in iterations, of the weights they ended with."""
    mean_age: float
    """Mean number of iterations since the window's examples were played."""
    mean_uses: float
    """Mean number of times that they had been trained on when the iteration ended."""
    core_seconds: float | None = None
    """Seconds of self-play and training × the cores each keeps busy; None on a GPU."""
    evaluation_seconds: float = 0.0
    """Seconds of the matches."""
    matches: Mapping[str, Mapping[str, Any]] = {}
    """Fields of a MatchResult, by opponent; empty where no match was played."""
