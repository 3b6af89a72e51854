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
from blobdiag.model.training import TrainedIteration, TrainingRun
from blobdiag.targets.builtin.matches import trained_iteration
from blobdiag.targets.builtin.run_configuration import (
    RunConfiguration,
    buffer_room,
    training_settings,
)
from engine.network.blobnet import BlobNet, NetworkConfig, build_network
from engine.training.checkpoint import CheckpointError, read_about, read_arrays
from engine.training.run_folder import RunFolder
from engine.training.saving import check_run, kept_records
from engine.training.trainer import WEIGHTS, fitting_weights


class TrainingJob(NamedTuple):
    """What a run goes by, and where it is kept."""

    settings: IterationSettings
    folder: RunFolder | None = None
    """None: nowhere."""
    training_dtype: str | None = None
    """None: not chosen yet."""
    finished: TrainingRun | None = None
    """A training that has done its iterations: nothing is left but to report it."""
    notes: tuple[str, ...] = ()
    """What to say about the folder, a line each."""


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
        if not folder.holds_run:
            _refuse_foreign(folder)
        folder.__enter__()
    except CheckpointError as error:
        raise UserError(f"--run-dir: {error}") from None
    try:
        yield _found(settings, folder)
    finally:
        folder.__exit__(None, None, None)


def _refuse_foreign(folder: RunFolder) -> None:
    """A training is never begun among files of something else. Raises UserError."""
    if folder.path == Path():
        raise UserError(
            "--run-dir is empty, or the current folder: name a folder of its own for the training"
        )
    foreign = folder.foreign
    if foreign is not None:
        raise UserError(
            f"--run-dir: {folder.path} is not empty and holds no training run (there is "
            f"{foreign.name!r}): name a new or an empty folder"
        )


def _found(settings: IterationSettings, folder: RunFolder) -> TrainingJob:
    if not settings.resume:
        if folder.holds_run:
            raise UserError(
                f"--run-dir: {folder.path} holds a training run: --resume goes on with it"
            )
        return TrainingJob(settings, folder)
    try:
        configuration = RunConfiguration.read(folder.configuration(), folder.path / "run.json")
        settings = configuration.resumed(settings)
        network = build_network(NetworkConfig.parse(settings.network), "cpu")
        without = check_run(folder, network, buffer_room(training_settings(settings)))
        job = TrainingJob(
            settings, folder, configuration.training_dtype, notes=_unchecked(folder, without)
        )
        newest = folder.newest_checkpoint
        return job if newest is None else _at(newest, job, network, folder)
    except CheckpointError as error:
        raise UserError(f"--resume: {error}") from None
    except ValueError as error:  # of run.json
        raise UserError(f"--resume: {folder.path / 'run.json'}: {error}") from None


def _unchecked(folder: RunFolder, without: list[Path]) -> tuple[str, ...]:
    if not without:
        return ()
    return (
        f"{folder.path}: {len(without)} files have no SHA-256, as an earlier version wrote them: "
        "changed bits in them are not noticed",
    )


def _at(newest: Path, job: TrainingJob, network: BlobNet, folder: RunFolder) -> TrainingJob:
    """With the network that the iteration at hand is played with, or the report's training."""
    settings, done = job.settings, read_about(newest)["iteration"]
    for number in {done, 0} if settings.evaluate_every is not None else {done}:
        _check_network(folder.network(number), network)
    trained = _trained(folder, RunConfiguration.of(settings, job.training_dtype or ""))
    missing = sorted(set(range(1, done + 1)) - {one.iteration for one in trained})
    if missing:
        numbers = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        note = f"{folder.metrics} lacks iteration {numbers}: the report will, too"
        job = job._replace(notes=(*job.notes, note))
    if done < (settings.iterations or 1):
        # Random weights are seeded, and told apart from trained ones.
        checkpoint = folder.network(done) if done else settings.checkpoint
        return job._replace(settings=replace(settings, checkpoint=checkpoint))
    return job._replace(
        settings=replace(settings, iterations=done, checkpoint=folder.network(done)),
        finished=TrainingRun(
            wanted=done,
            taken_up_at=done,
            iterations=[one for one in trained if one.iteration <= done],
            examples_by_age={},
            examples_by_uses={},
        ),
        notes=(
            *job.notes,
            f"the run in {folder.path} has done its {done} iterations: nothing is trained, and "
            "the report is written from what is kept; --iterations asks for more",
        ),
    )


def _trained(folder: RunFolder, configuration: RunConfiguration) -> list[TrainedIteration]:
    """The finished iterations as a report holds them. Raises CheckpointError."""
    search = configuration.at_the_end()
    player = f"search {search['determinizations']} × {search['simulations']}"
    trained = []
    for record in kept_records(folder):
        try:
            trained.append(trained_iteration(record, player))
        except (ValueError, ArithmeticError, LookupError) as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{folder.metrics}: iteration {record.iteration}: {line}"
            ) from None
    return trained


def _check_network(path: Path, network: BlobNet) -> None:
    """Raises CheckpointError unless the file holds weights of this shape."""
    try:
        fitting_weights(network, {f"{WEIGHTS}{n}": a for n, a in read_arrays(path).arrays.items()})
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
