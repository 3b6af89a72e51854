"""`blobdiag report list`: the reports of some folders, a row for each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blobdiag.cli.commands import command


@command(
    "blobdiag report list",
    "cd reports && blobdiag report list reference learning --markdown > README.md",
)
def list_reports(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR...", help="Folders of reports; default: ./reports"),
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the text of reports/README.md, with links")
    ] = False,
) -> int:
    """What was measured, when, on which machine: a row for each report.

    A file that cannot be read is listed with its reason; exit code 2 where none could be read. An
    empty folder is no error.
    """
    from blobdiag.model.report_files import REPORTS
    from blobdiag.render.index import markdown, read_folders, table
    from blobdiag.render.words import printable

    folders = folders or [REPORTS]
    index = read_folders(folders)
    if as_markdown:
        print(markdown(index), end="")
    elif index.entries or index.unreadable:
        from blobdiag.render.console import new_console

        new_console().print(table(index))
    else:
        print(printable(f"no reports in {', '.join(map(str, folders))}"))
    return 2 if index.unreadable and not index.entries else 0
