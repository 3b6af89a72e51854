"""A report on stdout: drawn for people, or in a form that a program reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdiag.model.output_format import Format as Format

if TYPE_CHECKING:
    from blobdiag.model.report import Report


def show(report: Report, form: Format | None) -> None:
    """Print the report on stdout: in a form, or drawn for a terminal."""
    if form is not None:
        print(text_of(report, form), end="")
        return
    from blobdiag.render.console import new_console
    from blobdiag.render.terminal import render

    render(report, new_console())


def text_of(report: Report, form: Format) -> str:
    """The report in a form, ending in a line break."""
    if form is Format.MARKDOWN:
        from blobdiag.render.markdown import document

        return document(report)
    if form is Format.JUNIT:
        from blobdiag.render.junit import document

        return document(report)
    return report.model_dump_json(indent=1) + "\n"
