"""`blobdiag report html`: one page of a saved report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blobdiag.cli.commands import command
from blobdiag.cli.report_argument import ReportFile

HEAD_BYTES = 4096
"""Of a page, with its title."""


@command("blobdiag report html run.json", "blobdiag report html run.json --output page.html")
def html(
    file: ReportFile,
    output: Annotated[
        Path | None,
        typer.Option(metavar="PAGE", help="The page; default: FILE with the suffix .html"),
    ] = None,
) -> None:
    """Make one HTML page of a saved report: a timeline, and all else; it needs no network.

    A page that exists is replaced, since its report makes it again; any other file never is, nor
    is anything written through a link.
    """
    from blobdiag.model.own_files import replace_whole
    from blobdiag.model.report_files import ReportError, read_report
    from blobdiag.render.words import printable

    page_path = file.with_suffix(".html") if output is None else output
    report = read_report(file)
    try:
        check_replaceable(page_path)
        from blobdiag.render.html import page  # matplotlib is slow to import

        replace_whole(page_path, page(report).encode())
    except OSError as error:
        raise ReportError(f"cannot write {page_path}: {error.strerror}") from None
    print(printable(str(page_path)))


def check_replaceable(path: Path) -> None:
    """Raise ReportError unless the path is free, or there is a page of blobdiag's.

    OSError where that cannot be found out.
    """
    from blobdiag.model.own_files import read_here
    from blobdiag.model.report_files import ReportError

    try:
        head = read_here(path, HEAD_BYTES)
    except FileNotFoundError:
        return
    title = head.partition(b"<title>")[2].partition(b"</title>")[0]
    if not head.lstrip().startswith(b"<!doctype html>") or b"blobdiag" not in title:
        raise ReportError(
            f"{path} exists and is not a page of a report: it is not replaced; name another file: "
            "--output PAGE"
        )
