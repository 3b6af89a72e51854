"""`blobdiag report list`: the reports of some folders, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from blobdiag.model.report_files import REPORTS
from blobdiag.render.index import markdown, read_folders, table


def list_reports(folders: Sequence[Path], as_markdown: bool) -> int:
    """Print the index of folders; exit code 2 if they hold files of which none could be read.

    An empty folder is no fault. Raises ReportError.
    """
    folders = folders or [REPORTS]
    index = read_folders(folders)
    if as_markdown:
        print(markdown(index), end="")
    elif index.entries or index.unreadable:
        Console(highlight=False).print(table(index))
    else:
        print(f"no reports in {', '.join(map(str, folders))}")
    return 2 if index.unreadable and not index.entries else 0
