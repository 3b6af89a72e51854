"""`blobdiag tune`: which workers, threads, lanes and dtype are fastest here?"""

from __future__ import annotations

from typing import Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.settings_command import measuring
from blobdiag.model.errors import UserError
from blobdiag.model.option import above_zero
from blobdiag.model.settings import Settings
from blobdiag.model.shared_options import MAX_TIMEOUT, Placement, Search, Weights, Workers

SECONDS, EXPLAIN_SECONDS = 120.0, 24.0
QUICK_SHARE = 1 / 3


@command("blobdiag tune", "blobdiag tune --quick --device cuda:0", "blobdiag tune --explain")
@measuring(Settings, (Placement, Search, Weights, Workers))
def tune(
    settings: Settings,
    seconds: Annotated[
        float | None,
        typer.Option(
            help=f"Time to measure for; default: {SECONDS:g}, or {EXPLAIN_SECONDS:g} to explain"
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A third of the time")] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show where a second goes, and what limits each stage"),
    ] = False,
) -> int:
    """Which workers, threads, lanes and dtype are fastest here?

    Measures candidates, prints a line for each, marks one as recommended and stores it for
    --tuned. With --explain it takes one setting apart instead: seconds by stage, and what each
    step from the machine's peak to games per minute loses.
    """
    if seconds is None:
        seconds = EXPLAIN_SECONDS if explain else SECONDS
    try:
        above_zero(below=MAX_TIMEOUT)(seconds)
    except ValueError as error:
        raise UserError(f"--seconds {error}") from None
    if quick:
        seconds *= QUICK_SHARE
    if explain:
        from blobdiag.cli.explaining import explain_and_draw

        return explain_and_draw(settings, seconds)
    from blobdiag.cli.tuning import tune_and_keep

    return tune_and_keep(settings, seconds)
