"""The folder that a training run is kept in: opened for this process, and looked through first.

Whatever is wrong with it is one line before anything starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from blobdiag.model.errors import UserError
from blobdiag.model.iteration_settings import IterationSettings
from blobdiag.targets.builtin.run_configuration import RunConfiguration
from engine.network.blobnet import NetworkConfig, build_network
from engine.training.checkpoint import CheckpointError, read_about, read_arrays
from engine.training.run_folder import RunFolder
from engine.training.trainer import fitting_weights


class TrainingJob(NamedTuple):
    """What a run goes by, and where it is kept."""

    settings: IterationSettings
    folder: RunFolder | None = None
    """None: nowhere."""
    training_dtype: str | None = None
    """None: not chosen yet."""


@contextmanager
def training_job(settings: IterationSettings) -> Iterator[TrainingJob]:
    """Hold the run's folder, where it has one.

    Raises UserError when it is in use, holds a run that is not to be resumed or none that is, or
    cannot be gone on from.
    """
    if settings.run_dir is None:
        yield TrainingJob(settings)
        return
    folder = RunFolder(settings.run_dir)
    if settings.resume and not folder.holds_run:
        raise UserError(f"--resume: {settings.run_dir} holds no training run")
    try:
        folder.__enter__()
    except CheckpointError as error:
        raise UserError(f"--run-dir: {error}") from None
    try:
        yield _found(settings, folder)
    finally:
        folder.__exit__(None, None, None)


def _found(settings: IterationSettings, folder: RunFolder) -> TrainingJob:
    if not settings.resume:
        if folder.holds_run:
            raise UserError(
                f"--run-dir: {folder.path} holds a training run: --resume goes on with it"
            )
        return TrainingJob(settings, folder)
    try:
        path = folder.path / "run.json"
        configuration = RunConfiguration.read(folder.configuration(), path)
        settings = configuration.resumed(settings)
        folder.check()
        newest = folder.newest_checkpoint
        if newest is not None:
            settings = _at(newest, settings, folder)
    except CheckpointError as error:
        raise UserError(f"--resume: {error}") from None
    return TrainingJob(settings, folder, configuration.training_dtype)


def _at(newest: Path, settings: IterationSettings, folder: RunFolder) -> IterationSettings:
    """The settings with the network that the iteration at hand is played with."""
    done = read_about(newest).get("iteration")
    if not isinstance(done, int):
        raise CheckpointError(f"{newest} does not say which iteration it is of")
    if done >= (settings.iterations or 1):
        raise UserError(
            f"--resume: the run in {folder.path} has done its {done} iterations: ask for more "
            "with --iterations"
        )
    try:
        network = build_network(NetworkConfig.parse(settings.network), "cpu")
        fitting_weights(network, read_arrays(newest).arrays)
    except ValueError as error:
        raise UserError(f"--resume: {newest}: {error}") from None
    # Random weights are seeded, and told apart from trained ones.
    return replace(settings, checkpoint=folder.network(done)) if done else settings
