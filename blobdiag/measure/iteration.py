"""`blobdiag iteration`: iterations of self-play and training, alone or as a training run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from blobdiag.measure.measurement import Measurement
from blobdiag.measure.session import Session
from blobdiag.model.iteration_settings import IterationSettings
from blobdiag.model.names import SET_UP
from blobdiag.targets.builtin.devices import resolve_auto
from blobdiag.targets.builtin.iterations import FinishedTraining
from blobdiag.targets.builtin.run_folder import training_job


@contextmanager
def iteration(settings: IterationSettings) -> Iterator[Measurement]:
    """Run iterations under the sampler, while the run's folder is locked.

    Raises UserError for a folder that is in use, already holds a run, or cannot be resumed.
    """
    with training_job(settings) as job:
        device = resolve_auto(job.settings.device)

        def measure(session: Session) -> None:
            for note in job.notes:
                session.event("run folder", note)
            if job.finished is not None:
                session.runner = FinishedTraining(job.finished)
                return
            # The session's are the same settings, with the tuned ones filled in.
            tuned = job._replace(settings=cast(IterationSettings, session.settings))
            with session.phase(SET_UP):
                session.runner = runner = session.engine.iterations(tuned, device)
                session.at_work.append(runner)
            with session.playing(runner.arm):
                runner.run(session)
                session.probe(runner.arm)

        yield Measurement("iteration", device, job.settings, measure, job.notes)
