"""`blobdiag iteration`: what does a full iteration cost?"""

from __future__ import annotations

from blobdiag.cli.commands import command
from blobdiag.cli.settings_command import measuring
from blobdiag.model.iteration_settings import IterationSettings


@command(
    "blobdiag iteration --games 500",
    "blobdiag iteration --plan-iterations 200 --plan-games 20000 --reuse 2",
    "blobdiag iteration --iterations 500 --games 10000 --run-dir run   # train, for days",
    "blobdiag iteration --run-dir run --resume",
    "blobdiag iteration --expect self-play-gpu=60.. --format junit > iteration.xml",
)
@measuring(IterationSettings, games=500)
def iteration(settings: IterationSettings) -> int:
    """What does a full iteration cost, where does the GPU idle, and how many days is the plan?

    Runs whole iterations: self-play, replay buffer, training, new weights to the workers. Shows
    each phase with its utilisation, then the days for the planned iterations, every term of them.
    With --run-dir it is a training run: killed at any moment, it loses a minute at most.
    """
    from blobdiag.cli.measured_run import run_measurement
    from blobdiag.measure.iteration import iteration

    with iteration(settings) as measurement:
        return run_measurement(measurement)
