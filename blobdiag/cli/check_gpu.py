"""`blobdiag check-gpu`: do my self-play workers use the GPU?"""

from __future__ import annotations

from typing import Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.settings_command import measuring
from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings


@command(
    "blobdiag check-gpu",
    "blobdiag check-gpu --device cuda:1 --checkpoint weights.pt",
    "blobdiag check-gpu --inject device-not-propagated   # see the bug found",
)
@measuring(Settings)
def check_gpu(
    settings: Settings,
    verify_fix: Annotated[
        bool,
        typer.Option(
            "--verify-fix",
            help="Apply the remedy for tiny batches or too many threads, and measure again",
            rich_help_panel="Judgement",
        ),
    ] = False,
) -> int:
    """Do my self-play workers use the GPU?

    Starts real workers, asks each where its network is, plays for a while under a sampler and
    judges utilisation, batches and search. Without a GPU the device's way to the workers is
    proven on torch's meta device, and the rest is INCONCLUSIVE (exit 3).
    """
    if verify_fix and settings.engine is not None:
        raise UserError("--verify-fix is for the built-in engine: it cannot change another one")
    from blobdiag.cli.measured_run import run_measurement
    from blobdiag.diagnosis.judge import judge
    from blobdiag.measure.check_gpu import check_gpu

    diagnose = (lambda report: judge(report).findings) if verify_fix else None
    return run_measurement(check_gpu(settings, diagnose))
