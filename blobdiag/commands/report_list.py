"""`blobdiag report list`: the reports of a folder, a row each."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from blobdiag.reporting.files import REPORTS
from blobdiag.reporting.index import markdown, read_folder, table


def list_reports(folder: Path | None, as_markdown: bool) -> int:
    """Print the index of a folder; exit code 2 if it holds files of which none could be read.

    An empty folder is no fault. Raises ReportError.
    """
    folder = folder or REPORTS
    index = read_folder(folder)
    if as_markdown:
        print(markdown(index), end="")
    elif index.entries or index.unreadable:
        Console(highlight=False).print(table(index))
    else:
        print(f"no reports in {folder}")
    return 2 if index.unreadable and not index.entries else 0
