"""The record of an iteration, made from the state at the end of its training."""

from __future__ import annotations

from collections import Counter

import torch

from engine.network.blobnet import weights_hash, weights_of
from engine.network.devices import usable_cores
from engine.selfplay.engine import SelfPlayEngine
from engine.training.iterations import IterationRecord
from engine.training.state import TrainingState, WindowCounts
from engine.training.trainer import NetworkTrainer


def iteration_record(
    state: TrainingState,
    counts: WindowCounts,
    engine: SelfPlayEngine,
    trainer: NetworkTrainer,
    rate_share: float,
) -> IterationRecord:
    """The current iteration's record; `rate_share` is the last step's share of the rate."""
    tenth = state.losses[-max(1, len(state.losses) // 10) :]
    ages = Counter[str]()
    for chunk in state.chunks:
        ages.update(chunk.weights_ages)
    seconds = sum(chunk.seconds for chunk in state.chunks)
    used = len(counts.uses)
    return IterationRecord(
        iteration=state.iteration + 1,
        games=state.games,
        determinizations=engine.search.determinizations,
        simulations=engine.search.simulations,
        chunks=len(state.chunks),
        self_play_seconds=seconds,
        evaluations_per_game=sum(chunk.evaluations for chunk in state.chunks) / state.games,
        examples=state.examples,
        buffer_examples=used,
        steps=state.step,
        training_seconds=state.training_seconds,
        learning_rate=trainer.learning_rate * rate_share,
        policy_loss=sum(loss.policy for loss in tenth) / len(tenth) if tenth else None,
        value_loss=sum(loss.value for loss in tenth) / len(tenth) if tenth else None,
        weights_hash=weights_hash(weights_of(trainer.network)),
        weights_ages=dict(ages),
        mean_age=float(counts.ages.mean()) if used else 0.0,
        mean_uses=float(counts.uses.mean()) if used else 0.0,
        core_seconds=core_seconds(engine, trainer, seconds, state.training_seconds),
    )


def core_seconds(
    engine: SelfPlayEngine, trainer: NetworkTrainer, self_play: float, training: float
) -> float | None:
    """Seconds of self-play and training × the cores each keeps busy; None on a GPU."""
    if torch.device(engine.device).type != "cpu" or trainer.device.type != "cpu":
        return None
    threads = sum(spec.threads for spec in engine.specs)
    return self_play * min(threads, usable_cores()) + training * trainer.shards
