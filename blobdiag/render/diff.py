"""A comparison of two sets of runs, drawn for the terminal or as Markdown.

Pure drawing of the same sections in either form; only what differs has a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from blobdiag.model.base import Interval
from blobdiag.model.comparison import Change, Comparison
from blobdiag.model.figures import figure
from blobdiag.render.markdown import escaped, table
from blobdiag.render.words import UNKNOWN, printable

HEADLINES = ("games_per_minute", "plan_days")
MOST_CHARACTERS = 500
"""Of a setting's value."""
CHANCE = 0.05
"""Share of unchanged figures that leave a 95 % interval."""
_COLOUR = {
    "better": "green",
    "worse": "red",
    "different": "yellow",
    "not known": "yellow",
    "PASS": "green",
    "FAIL": "red",
    "INCONCLUSIVE": "yellow",
}


class Section(NamedTuple):
    """A table: its title, the heads of its columns, and its rows."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def render(comparison: Comparison, console: Console) -> None:
    """Draw it for a terminal."""
    first = Text("\n").join(map(_text, [headline(comparison), *notes(comparison)]))
    console.print(Panel(first, title="blobdiag report diff"))
    for section in sections(comparison):
        console.print(_table(section))
        console.print()
    for line in closing(comparison):
        console.print(_text(line))


def markdown(comparison: Comparison) -> str:
    """The same as Markdown, as a job's summary takes it."""
    parts = ["## blobdiag report diff", f"**{escaped(headline(comparison))}**"]
    parts += [f"- {escaped(note)}" for note in notes(comparison)]
    for title, heads, rows in sections(comparison):
        parts += [f"### {title}", table(heads, rows)]
    return "\n\n".join([*parts, *map(escaped, closing(comparison))])


def headline(comparison: Comparison) -> str:
    """The most important figures and how they changed, in a line."""
    known = {change.name: change for change in comparison.figures}
    sentences = [_sentence(known[name]) for name in HEADLINES if name in known]
    reports = f"{comparison.old_reports} old, {comparison.new_reports} new"
    return f"{'; '.join(sentences) or 'No self-play rate is known'} ({reports})."


def notes(comparison: Comparison) -> list[str]:
    """Why figures may not be comparable."""
    return [
        *comparison.unlike,
        *(f"ignored, invalid evidence: {doubt}" for doubt in comparison.doubts),
    ]


def sections(comparison: Comparison) -> list[Section]:
    """The sections that are not empty."""
    every = [
        Section(
            "Gates",
            ("gate", "", "seen"),
            [(gate.gate, gate.status, gate.text) for gate in comparison.gates],
        ),
        Section(
            "Figures",
            ("figure", "old", "new", "new ÷ old", "95 % interval", ""),
            [_row(change) for change in comparison.figures if _worth_a_line(change)],
        ),
        Section(
            "Settings",
            ("", "old", "new"),
            [(d.name, _values(d.old), _values(d.new)) for d in comparison.settings],
        ),
        Section(
            "Checks",
            ("check", "old", "new"),
            [(d.name, _values(d.old), _values(d.new)) for d in comparison.checks],
        ),
        Section(
            "Findings",
            ("", "finding", "remedy"),
            [("appeared", f.title, f.remedy) for f in comparison.appeared]
            + [("gone", f.title, f.remedy) for f in comparison.gone],
        ),
    ]
    return [section for section in every if section.rows]


def closing(comparison: Comparison) -> list[str]:
    """Unchanged figures, those expected to differ by chance, and unknown ones with the reason."""
    judged = [change for change in comparison.figures if change.log_sd is not None]
    same = [change.name for change in comparison.figures if change.outcome == "same"]
    lines = []
    if same:
        lines.append(f"No change seen: {', '.join(same)}.")
    if judged:
        lines.append(
            f"{len(judged)} figures were compared at 95 % each: "
            f"about {CHANCE * len(judged):.1f} would differ by chance. "
            f"Run-to-run spread of {judged[0].name}: {100 * (judged[0].log_sd or 0):.1f} %, "
            f"from {judged[0].freedom} degrees of freedom."
        )
    for reason in dict.fromkeys(c.reason for c in comparison.figures if c.reason):
        names = [change.name for change in comparison.figures if change.reason == reason]
        what = ", ".join(names) if len(names) <= 5 else f"{len(names)} figures"
        lines.append(f"Not known of {what}: {reason}.")
    return lines


def _sentence(change: Change) -> str:
    if change.old is None or change.new is None:
        return f"{change.name}: {change.reason}"
    change_text = f"{change.name}: {figure(change.old)} → {figure(change.new)} {change.unit}"
    if change.ratio is None:
        return change_text
    change_text += f", × {change.ratio:.3f}"
    if change.interval is None:
        return f"{change_text}; not known whether that is a change"
    outcome = "no change seen" if change.outcome == "same" else change.outcome
    return f"{change_text} ({_range(change.interval)}): {outcome}"


def _worth_a_line(change: Change) -> bool:
    """What changed; of unknown changes, the figures that a gate can be set on."""
    if change.outcome == "not known":
        return change.better is not None and change.ratio is not None
    return change.outcome != "same"


def _row(change: Change) -> tuple[str, ...]:
    values = [UNKNOWN if value is None else figure(value) for value in (change.old, change.new)]
    return (
        change.name,
        *values,
        UNKNOWN if change.ratio is None else f"{change.ratio:.3f}",
        UNKNOWN if change.interval is None else _range(change.interval),
        change.outcome,
    )


def _range(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}"


def _values(seen: Mapping[str, int]) -> str:
    """The values, with how often each was seen where there are several; cut where they are long."""
    if len(seen) == 1:
        text = next(iter(seen))
    else:
        text = ", ".join(f"{value} ×{count}" for value, count in seen.items())
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _table(section: Section) -> Table:
    title = Text(section.title, style="bold underline")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    table.pad_edge = False
    for number, head in enumerate(section.heads):
        table.add_column(head, overflow="fold", no_wrap=number == 0)
    for row in section.rows:
        table.add_row(*(_text(cell, _COLOUR.get(cell, "")) for cell in row))
    return table


def _text(value: str, style: str = "") -> Text:
    return Text(printable(value), style=style)
