"""Training runs of a small network, on an engine that repeats its games exactly."""

from __future__ import annotations

from lane_play import SMALL

from engine.network.blobnet import NetworkConfig, build_network, weights_hash, weights_of
from engine.selfplay.engine import SelfPlayEngine
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import TrainingPipeline
from engine.training.replay import ReplayBuffer
from engine.training.run_folder import RunFolder
from engine.training.schedules import Ramp
from engine.training.trainer import NetworkTrainer

CHANGING = TrainingSettings(
    iterations=3,
    games=Ramp(20, 40),
    determinizations=Ramp(1, 2),
    simulations=Ramp(4, 8),
    window=Ramp(200, 500),
    reuse=2,
    chunk_games=12,
    save_seconds=0,
)


def pipeline(
    engine: SelfPlayEngine,
    settings: TrainingSettings,
    folder: RunFolder | None = None,
    seed: int = 1,
    config: NetworkConfig = SMALL,
) -> TrainingPipeline:
    """A run from its beginning; `seed` is that of the weights."""
    trainer = NetworkTrainer(build_network(config, "cpu", seed), batch_size=64, cores=1)
    if config == SMALL:
        engine.update_weights(trainer.network)
    return TrainingPipeline(engine, trainer, ReplayBuffer(600, seed=3), settings, folder)


def hash_of(run: TrainingPipeline) -> str:
    return weights_hash(weights_of(run.trainer.network))


class Died(Exception):
    """Stands for a death that comes between two instructions of ours."""
