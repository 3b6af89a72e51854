"""`blobdiag report`: draw a saved report, make a page of it, or say whether a file is one."""

from __future__ import annotations

from pathlib import Path

from blobdiag.model.report_files import ReportError, read_data, read_report, report_of
from blobdiag.render import formats
from blobdiag.render.formats import Format


def show(path: Path, form: Format | None = None) -> None:
    """Print a report on stdout. Raises ReportError."""
    formats.show(read_report(path), form)


def html(path: Path, output: Path | None) -> None:
    """Write a report as one HTML page, by default beside it, and print where.

    A page that is there is replaced, since its report makes it again; a report never is.
    Raises ReportError.
    """
    page_path = path.with_suffix(".html") if output is None else output
    report = read_report(path)
    try:
        if page_path.exists() and page_path.samefile(path):
            raise ReportError(f"{page_path} is the report itself; name another file: --output PAGE")
        from blobdiag.render.html import page  # matplotlib is slow to import

        page_path.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {page_path}: {error.strerror}") from None
    print(page_path)


def validate(path: Path) -> None:
    """Say of which schema version a report is. Raises ReportError where a file is none."""
    data = read_data(path)
    written, read_as = data["schema_version"], report_of(data, path).schema_version
    older = f" (read as version {read_as})" if read_as != written else ""
    print(f"{path}: valid report of schema version {written}{older}")
