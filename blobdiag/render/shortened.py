"""A report cut to what is drawn of it: a hostile one is drawn as fast, and as small, as others.

Reports of real runs are far below every limit and are drawn as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from blobdiag.model.base import Model
from blobdiag.model.recorded import Event, Series
from blobdiag.model.report import Report
from blobdiag.render.strength import thinned


class Limits(NamedTuple):
    """Entries of each list or mapping, and characters of each text."""

    entries: int
    characters: int


LIMITS = (Limits(10_000, 20_000), Limits(400, 4_000), Limits(100, 1_000), Limits(40, 300))
"""Tried in turn, until what is left weighs little enough."""
MOST_WEIGHT = 1_500_000
"""Of what is drawn on a terminal; reports of real runs weigh a tenth."""
PART_WEIGHT = 100
"""Of a row that a part of the report is drawn as, beside its texts."""
VALUE_WEIGHT = 10
"""Of a figure."""
KIND = "shortened"


def shortened(report: Report, most: int = MOST_WEIGHT, first: int = 0) -> Report:
    """The report, cut by the first of LIMITS from `first` on that makes it light enough.

    What was cut is said in an event. The same object where nothing had to be. Samples and the
    iterations of a training are thinned by every drawing itself: only what is left of them counts.
    """
    drawn = _thinned(report)
    for limits in LIMITS[first:]:
        cut = _cut(drawn, limits)
        if weight(cut) <= most:
            break
    if cut is drawn:
        return report
    note = Event(
        at_s=report.seconds,
        kind=KIND,
        text=f"drawn are at most {limits.entries:,} entries of each list and "
        f"{limits.characters:,} characters of each text: see the JSON",
    )
    return cut.model_copy(update={"events": [*cut.events, note]})


def _thinned(report: Report) -> Report:
    if report.training is None:
        return report
    iterations = thinned(report.training.iterations)
    training = report.training.model_copy(update={"iterations": iterations})
    return report.model_copy(update={"training": training})


def weight(part: Any) -> int:
    """About the bytes that it takes when it is drawn, without samples."""
    return sum(_weights(part))


def _weights(part: Any) -> Iterator[int]:
    if isinstance(part, str):
        # Some characters are written as an entity, or behind a backslash.
        yield len(part.encode(errors="replace")) + 4 * sum(map(part.count, "&<>'\""))
    elif isinstance(part, Series):
        yield PART_WEIGHT
        yield from _weights(part.name)
    elif isinstance(part, Model):
        yield PART_WEIGHT
        for value in part.__dict__.values():
            yield from _weights(value)
    elif isinstance(part, Mapping):
        for name, value in part.items():
            yield from _weights(name)
            yield from _weights(value)
    elif isinstance(part, Sequence):
        for value in part:
            yield from _weights(value)
    else:
        yield VALUE_WEIGHT


def _cut(part: Any, limits: Limits) -> Any:
    """The same object where nothing is cut."""
    if isinstance(part, str):
        more = len(part) - limits.characters
        if more <= 0 or type(part) is not str:
            return part
        return f"{part[: limits.characters]}… ({more:,} characters more)"
    if isinstance(part, Series):
        name, unit = _cut(part.name, limits), _cut(part.unit, limits)
        same = name is part.name and unit is part.unit
        return part if same else part.model_copy(update={"name": name, "unit": unit})
    if isinstance(part, Model):
        update = {
            name: cut
            for name, value in part.__dict__.items()
            if (cut := _cut(value, limits)) is not value
        }
        return part.model_copy(update=update) if update else part
    if isinstance(part, Mapping):
        made = {
            _cut(name, limits): _cut(value, limits)
            for name, value in list(part.items())[: limits.entries]
        }
        same = len(made) == len(part) and all(made.get(n, made) is v for n, v in part.items())
        return part if same else made
    if isinstance(part, list):
        cut = [_cut(value, limits) for value in part[: limits.entries]]
        same = len(cut) == len(part) and all(map(_is, cut, part))
        return part if same else cut
    return part


def _is(one: object, other: object) -> bool:
    return one is other
