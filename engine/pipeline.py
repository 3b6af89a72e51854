"""TrainingPipeline: self-play → replay buffer → training → new weights in the workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from engine.replay import ReplayBuffer
from engine.selfplay import MessageCallback, ProgressCallback, SelfPlayEngine, SelfPlayResult
from engine.training import NetworkTrainer, StepLoss, TrainingResult

SELF_PLAY, BUFFER, TRAINING, WEIGHTS = "self-play", "replay buffer", "training", "weight refresh"

PhaseMarker = Callable[[str], AbstractContextManager[object]]
"""Called with a phase's name; its body runs inside the context that comes back."""


class IterationResult(NamedTuple):
    """One iteration."""

    self_play: SelfPlayResult
    training: TrainingResult
    weights_hash: str
    """Of the weights that every worker now plays with."""


def _unmarked(name: str) -> AbstractContextManager[object]:
    return nullcontext()


class TrainingPipeline:
    """Iterations of self-play and training; `reuse` is how often each new example is trained on.

    The trainer's network is the one whose weights the engine's workers are given.
    Raises ValueError for a reuse that is not above 0.
    """

    def __init__(
        self,
        engine: SelfPlayEngine,
        trainer: NetworkTrainer,
        buffer: ReplayBuffer,
        reuse: float = 4.0,
    ) -> None:
        if reuse <= 0:
            raise ValueError(f"reuse must be above 0, not {reuse}")
        self.engine, self.trainer, self.buffer, self.reuse = engine, trainer, buffer, reuse

    def steps_for(self, examples: int) -> int:
        """Training steps that use `examples` new examples `reuse` times; at least one."""
        return max(1, round(examples * self.reuse / self.trainer.batch_size))

    def run_iteration(
        self,
        num_games: int,
        num_players: int = 4,
        cards_to_deal: int = 5,
        *,
        phase: PhaseMarker = _unmarked,
        on_progress: ProgressCallback | None = None,
        on_message: MessageCallback | None = None,
        on_step: Callable[[int, StepLoss], None] | None = None,
    ) -> IterationResult:
        """Play, store, train, and refresh the workers' weights, each announced by `phase`.

        Raises what SelfPlayEngine.generate_games, NetworkTrainer.train and
        SelfPlayEngine.update_weights raise.
        """
        with phase(SELF_PLAY):
            played = self.engine.generate_games(
                num_games, num_players, cards_to_deal, on_progress, on_message
            )
        with phase(BUFFER):
            self.buffer.add(played.examples)
        self.engine.injection.gap()
        with phase(TRAINING):
            trained = self.trainer.train(self.buffer, self.steps_for(played.examples.rows), on_step)
        with phase(WEIGHTS):
            weights_hash = self.engine.update_weights(self.trainer.network)
        return IterationResult(played, trained, weights_hash)
