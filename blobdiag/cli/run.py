"""`blobdiag run`: the same diagnosis for any PyTorch program."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.settings_command import check_expectations, with_options
from blobdiag.model.errors import UserError
from blobdiag.model.option import above_zero, at_least, check_values, option
from blobdiag.model.output_format import Format
from blobdiag.model.program_settings import ProgramSettings, RecordArguments
from blobdiag.model.shared_options import MAX_TIMEOUT, Expectations, Output

MOST_CALLS = 1_000_000_000
"""Of --count-every."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(Expectations, Output):
    """The options of the command; those that it shares mean the same as everywhere."""

    expect_device: str | None = option(
        "Judgement",
        "Where the program's networks should be, for example cuda; default: what its own "
        "--device says",
        default=None,
    )
    judge: bool = option(
        "Judgement",
        "Where the program ends with 0, exit with the verdict's code",
        default=False,
    )
    timeout: float | None = option(
        "Judgement",
        "End the program after this many seconds, with exit code 124",
        default=None,
        metavar="SECONDS",
        check=above_zero(below=MAX_TIMEOUT),
    )
    no_instrument: bool = option(
        "Instrumentation",
        "Do not count calls of networks inside the program's Python processes",
        default=False,
    )
    count_every: int = option(
        "Instrumentation",
        "Count 1 of N calls, for networks that take microseconds",
        default=1,
        check=at_least(1, MOST_CALLS),
    )
    record_arguments: RecordArguments = option(
        "Output",
        "Command lines in the report: the programs' names (none), without secrets and paths "
        "(masked), or as they are (all)",
        default=RecordArguments.MASKED,
    )
    output: Path | None = option(
        "Output", "Report file; default: ./reports/<UTC>-run-<device>.json", default=None
    )
    format: Format | None = option(
        "Output", "Print the report in this form on stderr instead of a few lines", default=None
    )


@command(
    "blobdiag run -- python my_selfplay.py --device cuda",
    "blobdiag run --expect-device cuda --judge -- torchrun --nproc-per-node 2 train.py",
    # What follows the program's name is the program's.
    allow_interspersed_args=False,
)
@with_options(RunOptions)
def run(
    options: RunOptions,
    program: Annotated[
        list[str], typer.Argument(metavar="CMD", help="Any program, with its arguments")
    ],
) -> int:
    """The same diagnosis for any PyTorch program: which process ran what on which device?

    Runs a command in your terminal, watches every process that it starts, and counts the calls of
    its networks inside them. The program's output and exit code stay its own; the diagnosis is
    printed at the end, on stderr. Linux only.
    """
    if not sys.platform.startswith("linux"):
        raise UserError("run watches programs on Linux only: elsewhere there is no /proc")
    check_values(options)
    check_expectations(options.expect)
    from blobdiag.cli.watched_run import watch

    settings = ProgramSettings(
        expect_device=options.expect_device,
        expect=options.expect,
        judge=options.judge,
        instrument=not options.no_instrument,
        count_every=options.count_every,
        timeout=options.timeout,
        label=options.label,
        record_arguments=options.record_arguments,
    )
    return watch(
        program,
        settings,
        output=options.output,
        html=options.html,
        form=options.format,
        quiet=options.quiet,
    )
