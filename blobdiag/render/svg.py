"""From a matplotlib figure to SVG for a page: with the page's colours and font, no date, no ids.

Figures are laid out in pixels from the top left, and drawn in placeholder colours that become CSS
variables, so that a page can be light or dark.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blobdiag.render.words import printable

DPI = 72
"""So that a point is a pixel."""
FONT_PX = 11.0
# Mean advance of a sans serif's letters, over their size: the browser's font is not known here.
LETTER = 0.5

INK, MUTED, GRID, BAND = "#010001", "#020002", "#030003", "#040004"
FIRST, SECOND, IDLE, PAPER = "#050005", "#060006", "#070007", "#080008"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BAND: "var(--band)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    IDLE: "var(--idle)",
    PAPER: "var(--paper)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that layouts are the same everywhere
    "font.size": FONT_PX,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.linewidth": 0.75,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.xmargin": 0.0,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "grid.color": GRID,
    "grid.linewidth": 0.75,
    "lines.linewidth": 1.25,
    "lines.solid_joinstyle": "round",
    "hatch.linewidth": 0.9,
}
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


@contextmanager
def house_style(name: str) -> Iterator[None]:
    """Style to draw in; `name` makes the ids of a page's figures unique and reproducible."""
    style: Any = {**_STYLE, "svg.hashsalt": name}  # its keys are literals to a type checker
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # Glyphs are the browser's: DejaVu need not have them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def canvas(width: float, height: float) -> Figure:
    """An empty, transparent figure of this size in pixels."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.patch.set_visible(False)
    return figure


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at these pixels of a figure."""
    across, down = figure.get_size_inches() * DPI
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def write(figure: Figure, x: float, y: float, text: str, **style: object) -> None:
    """Text at a pixel: its left end and baseline, unless `ha` and `va` are given."""
    across, down = figure.get_size_inches() * DPI
    figure.text(x / across, 1 - y / down, one_line(text), **style)  # type: ignore[arg-type]


def one_line(text: str) -> str:
    """A report's words as one line without control characters."""
    return " ".join(printable(text).split())


def text_width(text: str, size: float = FONT_PX) -> float:
    """About how wide a line is in a browser, in pixels."""
    return LETTER * size * len(text)


def embeddable(figure: Figure, label: str, **data: float) -> str:
    """A figure as an <svg> element for HTML, `label` its text alternative, `data` data-* of it."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    across, down = figure.get_size_inches() * DPI
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        _adapt(element)
    root.attrib = {
        "viewBox": f"0 0 {across:g} {down:g}",
        "role": "img",
        "aria-label": one_line(label),
        **{f"data-{name}": f"{value:g}" for name, value in data.items()},
    }
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element) -> None:
    """The page's colours and font, shorter paths, and only those ids that are referred to."""
    if element.tag == f"{{{_SVG}}}g":
        element.attrib.pop("id", None)
    if (style := element.get("style")) is not None:
        style = re.sub(r"font-family: [^;]+;? ?", "", style)
        style = re.sub(r"#0\d000\d", lambda match: _VARIABLES[match[0]], style)
        element.set("style", style)
    if (path := element.get("d")) is not None:
        element.set("d", re.sub(r"\d+\.\d+", lambda match: f"{float(match[0]):.1f}", path))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
