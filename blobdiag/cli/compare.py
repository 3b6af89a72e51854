"""`blobdiag compare`: is the GPU worth it?"""

from __future__ import annotations

from blobdiag.cli.commands import command
from blobdiag.cli.settings_command import measuring
from blobdiag.model.settings import Settings


@command(
    "blobdiag compare --games 20",
    "blobdiag compare --device cpu --min-seconds 30 --html",
    "blobdiag compare --format markdown --timeout 300 >> summary.md",
)
@measuring(Settings)
def compare(settings: Settings) -> int:
    """Is the GPU worth it? Games per minute on the CPU and on the GPU, in turn, same seeds.

    Judges the lower bound of the speed-up, and that both devices give the same answers. Where
    there is only a CPU, that is measured.
    """
    from blobdiag.cli.measured_run import run_measurement
    from blobdiag.measure.compare import compare

    return run_measurement(compare(settings))
