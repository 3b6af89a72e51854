"""`blobdiag report ...`: what is made of saved reports. Each command's module is imported late."""

from pathlib import Path
from typing import Annotated

import typer

from blobdiag.cli.options import examples
from blobdiag.cli.two_sides import TwoSides
from blobdiag.diagnosis import gates
from blobdiag.render.formats import Format

report_app = typer.Typer(no_args_is_help=True, help="Draw, check or compare saved reports.")

ReportFile = Annotated[Path, typer.Argument(metavar="FILE", help="A report written by blobdiag")]


@report_app.command(
    "show",
    epilog=examples(
        "blobdiag report show mine.json", "blobdiag report show mine.json --format markdown"
    ),
)
def show(
    file: ReportFile,
    format: Annotated[
        Format | None, typer.Option(help="Print this on stdout instead of tables")
    ] = None,
) -> None:
    """Draw a saved report, without running anything."""
    from blobdiag.cli.report_show import show

    show(file, format)


@report_app.command(
    "html",
    epilog=examples(
        "blobdiag report html run.json", "blobdiag report html run.json --output page.html"
    ),
)
def html(
    file: ReportFile,
    output: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="The page; else FILE with suffix .html")
    ] = None,
) -> None:
    """Make one HTML page of a saved report: a timeline, and all else; it needs no network."""
    from blobdiag.cli.report_show import html

    html(file, output)


@report_app.command("validate", epilog=examples("blobdiag report validate mine.json"))
def validate(file: ReportFile) -> None:
    """Say whether a file is a valid report."""
    from blobdiag.cli.report_show import validate

    validate(file)


@report_app.command("trace", epilog=examples("blobdiag report trace run.json"))
def trace(
    file: ReportFile,
    output: Annotated[
        Path | None, typer.Option(help="Trace file; else FILE's name with .trace.json")
    ] = None,
) -> None:
    """Turn a saved report into a timeline for ui.perfetto.dev or chrome://tracing."""
    from blobdiag.cli.report_trace import trace

    trace(file, output)


@report_app.command(
    "diff",
    cls=TwoSides,
    epilog=examples(
        "blobdiag report diff a1.json a2.json a3.json -- b1.json b2.json b3.json",
        "blobdiag report diff old.json new.json --fail-on games_per_minute:5%",
    ),
)
def diff(
    files: Annotated[
        list[str], typer.Argument(metavar="OLD... -- NEW...", help="Reports; OLD NEW, if two")
    ],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:PERCENT%",
            help="Exit 1 if the figure became worse by so much. Repeatable. Figures: "
            + ", ".join(gates.FIGURES),
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="text, json or markdown")] = "text",
) -> None:
    """What changed between two sets of runs, and did anything become worse?

    Runs of the same code differ, so several reports a side are compared, best of runs that
    alternated; or one a side by the spread that `report spread` keeps. With --fail-on: exit 1
    when it became worse, 0 when not, 3 when these reports cannot tell.
    """
    from blobdiag.cli.report_diff import diff

    raise typer.Exit(diff(files, fail_on or [], form))


@report_app.command("spread", epilog=examples("blobdiag report spread a.json b.json c.json"))
def spread(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Three or more of one configuration")
    ],
) -> None:
    """Keep how much runs of the same code differ on this machine, for `report diff`."""
    from blobdiag.cli.report_spread import spread

    raise typer.Exit(spread(files))


@report_app.command(
    "list",
    epilog=examples(
        "blobdiag report list",
        "cd reports && blobdiag report list reference learning --markdown > README.md",
    ),
)
def list_reports(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR...", help="Their *.json; else ./reports")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The text of reports/README.md, with links")
    ] = False,
) -> None:
    """What was measured, when, on which machine: a row a report.

    A file that cannot be read is listed with its reason; exit code 2 where none could be.
    """
    from blobdiag.cli.report_list import list_reports

    raise typer.Exit(list_reports(folders or [], markdown))
