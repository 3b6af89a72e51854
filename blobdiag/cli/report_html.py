"""`blobdiag report html`: one page of a saved report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.report_argument import ReportFile


@command("blobdiag report html run.json", "blobdiag report html run.json --output page.html")
def html(
    file: ReportFile,
    output: Annotated[
        Path | None,
        typer.Option(metavar="PAGE", help="The page; default: FILE with the suffix .html"),
    ] = None,
) -> None:
    """Make one HTML page of a saved report: a timeline, and all else; it needs no network.

    A page that exists is replaced, since its report makes it again; a report never is.
    """
    from blobdiag.model.report_files import ReportError, read_report
    from blobdiag.render.words import printable

    page_path = file.with_suffix(".html") if output is None else output
    report = read_report(file)
    try:
        if page_path.exists() and page_path.samefile(file):
            raise ReportError(f"{page_path} is the report itself; name another file: --output PAGE")
        from blobdiag.render.html import page  # matplotlib is slow to import

        page_path.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {page_path}: {error.strerror}") from None
    print(printable(str(page_path)))
