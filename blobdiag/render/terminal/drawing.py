"""Tables and words for the terminal, drawn alike in every section."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from blobdiag.model.base import Status
from blobdiag.render import words

COLOURS = {
    Status.PASS: "green",
    Status.FAIL: "red",
    Status.INCONCLUSIVE: "yellow",
    Status.NOT_APPLICABLE: "bright_black",
}


def new_table(title: str | None, header: bool = True, gap: int = 2) -> Table:
    return Table(
        title=None if title is None else heading(title),
        title_justify="left",
        box=SIMPLE_HEAD if header else None,
        show_header=header,
        show_edge=False,
        # The box itself parts columns by one space.
        padding=(0, gap - 1 if header else gap, 0, 0),
        pad_edge=False,
    )


def heading(title: str) -> Text:
    return plain(title, style="bold underline")


def plain(value: str, style: str = "") -> Text:
    """A report's text, in which neither markup nor control characters have an effect."""
    return Text(words.printable(value), style=style)


def dim(value: str) -> Text:
    return plain(value, style="bright_black")
