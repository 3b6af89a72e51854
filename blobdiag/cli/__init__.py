"""The command line: a module for each command, imported when the command is asked for."""

from __future__ import annotations

import sys
from typing import Annotated, ClassVar

import typer

from blobdiag import __version__
from blobdiag.cli.commands import CONTEXT, CommandGroup, Listed
from blobdiag.cli.streams import guarded
from blobdiag.model.errors import UserError


class Commands(CommandGroup):
    """All of blobdiag's commands."""

    listed: ClassVar = {
        "check-gpu": Listed("check_gpu:check_gpu", "Do my self-play workers use the GPU?"),
        "compare": Listed(
            "compare:compare",
            "Is the GPU worth it? Games per minute on the CPU and on the GPU, in turn, same seeds.",
        ),
        "iteration": Listed(
            "iteration:iteration",
            "What does a full iteration cost, where does the GPU idle, and how many days is the "
            "plan?",
        ),
        "tune": Listed("tune:tune", "Which workers, threads, lanes and dtype are fastest here?"),
        "evaluate": Listed(
            "evaluate:evaluate",
            "How strong is a network? Points per deal ahead of each opponent, with interval.",
        ),
        "run": Listed(
            "run:run",
            "The same diagnosis for any PyTorch program: which process ran what on which device?",
        ),
        "plan": Listed(
            "plan:plan",
            "When is my training done, and on which machine? From saved reports; nothing is run.",
        ),
        "doctor": Listed(
            "doctor:doctor",
            "Why is CUDA not seen? Driver, torch build, environment, container, permissions.",
        ),
        "report": Listed("report:report_app", "Draw, check, judge or compare saved reports."),
    }


app = typer.Typer(
    name="blobdiag",
    cls=Commands,
    epilog="Exit codes: 0 passed or nothing to judge · 1 a deciding check failed · 2 bad usage or "
    "input · 3 inconclusive · 129, 130, 143 interrupted (a report is still written).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"blobdiag {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version")
    ] = False,
) -> None:
    """Does your self-play use the GPU, and when will the training be done?"""


def main() -> None:
    """The console script: bad usage and bad input are one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # A report must not fail on a terminal that cannot draw a dash.
        getattr(stream, "reconfigure", lambda errors: None)(errors="replace")
    with guarded():
        try:
            app()
        except UserError as error:
            print(f"blobdiag: {error}", file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    main()
