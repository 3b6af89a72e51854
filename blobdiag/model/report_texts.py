"""Every text of a report, changed in one place."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import Any, TypeVar

from blobdiag.model.base import Model, Stretch
from blobdiag.model.masking import mask_text
from blobdiag.model.recorded import Series
from blobdiag.model.report import Report

Part = TypeVar("Part", bound=Model)

MASKED_BEFORE = ("configuration", "command")
"""Fields whose texts are masked when they are taken in: by the name of the setting, and argument by
argument."""


def masked_report(report: Report) -> Report:
    """Without secrets and absolute paths, wherever in the report a text came from."""
    return with_texts(report, mask_text, MASKED_BEFORE)


def with_texts(part: Part, change: Callable[[str], str], skip: Collection[str] = ()) -> Part:
    """A part of a report with `change` of each text in it, but for the fields named in `skip`."""
    changed = {
        name: new
        for name, value in part.__dict__.items()
        if name not in skip
        and not (isinstance(part, Series) and name not in ("name", "unit"))
        and (new := _changed(value, change, skip)) is not value
    }
    return part.model_copy(update=changed) if changed else part


def _changed(value: Any, change: Callable[[str], str], skip: Collection[str]) -> Any:
    """The value itself where nothing in it changes."""
    if isinstance(value, str):
        new = value if isinstance(value, Enum) else change(value)
        return value if new == value else new
    if isinstance(value, Model):
        return value if type(value) is Stretch else with_texts(value, change, skip)
    if isinstance(value, list):
        items = [_changed(item, change, skip) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else items
    if isinstance(value, dict):
        pairs = {_changed(k, change, skip): _changed(v, change, skip) for k, v in value.items()}
        same = all(k in pairs and pairs[k] is v for k, v in value.items())
        return value if same else pairs
    return value
