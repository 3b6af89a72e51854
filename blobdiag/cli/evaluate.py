"""`blobdiag evaluate`: how strong is a network?"""

from __future__ import annotations

from blobdiag.cli.commands import command
from blobdiag.cli.settings_command import measuring
from blobdiag.model.evaluation_settings import GROUPS, EvaluationSettings


@command(
    "blobdiag evaluate run",
    "blobdiag evaluate run --against run/networks/000000.safetensors --against raw",
    "blobdiag evaluate new.safetensors --against old.safetensors --deals 4000",
    "blobdiag evaluate rules --against random",
)
@measuring(EvaluationSettings, GROUPS)
def evaluate(settings: EvaluationSettings) -> int:
    """How strong is a network? Points per deal ahead of each opponent, with interval.

    Duplicate deals: the same cards are played with the player in every seat, against copies of the
    opponent, so that luck cancels. Networks play with their search, in float32.
    """
    from blobdiag.cli.measured_run import run_measurement
    from blobdiag.measure.evaluate import evaluate

    return run_measurement(evaluate(settings))
