"""`blobdiag plan`: when is my training done, on which machine?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.settings_command import with_options
from blobdiag.model.errors import UserError
from blobdiag.model.plan_request import PlanRequest

if TYPE_CHECKING:
    from rich.console import Console

    from blobdiag.model.capacity import CapacityPlan

FORMS = ("table", "json")
WIDTH = 100
"""Of a table in a file, characters."""


@command(
    "blobdiag plan run.json --games 1000..10000 --days 10",
    "blobdiag plan home.json lab.json --price-per-hour 0.1 --price-per-hour 2.5",
)
@with_options(PlanRequest)
def plan(
    request: PlanRequest,
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="Saved reports, a column for each")
    ],
    form: Annotated[str, typer.Option("--format", help="table or json")] = "table",
    output: Annotated[
        Path | None, typer.Option(help="Write to this new file, not to stdout")
    ] = None,
) -> int:
    """When is my training done, and on which machine? From saved reports; nothing is run.

    Days with interval, every term with what would be gained if it were free, energy, cost and
    memory.
    """
    write_plan(reports, request, form, output)
    return 0


def write_plan(
    reports: Sequence[Path], request: PlanRequest, form: str, output: Path | None
) -> None:
    """Plan by each report, and print the plans side by side. Raises UserError."""
    if form not in FORMS:
        raise UserError(f"--format must be table or json, not {form!r}")
    request.check(len(reports))
    from blobdiag.diagnosis.machine_plans import capacity_plan
    from blobdiag.model.report_files import read_report
    from blobdiag.render.console import new_console

    made = capacity_plan([(path, read_report(path)) for path in reports], request)
    if output is None:
        _write(made, form, new_console())
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            _write(made, form, new_console(file=file, width=WIDTH))
    except FileExistsError:
        raise UserError(f"--output {output}: the file exists; nothing is overwritten") from None
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from None
    print(output)


def _write(made: CapacityPlan, form: str, console: Console) -> None:
    from blobdiag.render.plan_table import render

    if form == "json":
        console.file.write(made.model_dump_json(indent=1) + "\n")
    else:
        render(made, console)
