"""Values read from JSON, held against the types of the fields that they are for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Fields = TypeVar("Fields", bound=tuple[Any, ...])

LARGEST_WHOLE = 2**63 - 1


def checked(kind: type[Fields], values: object) -> Fields:
    """A named tuple of these values.

    Raises ValueError, in one line, for the first field that is missing, unknown or of a wrong
    type. Numbers must be finite, and whole ones fit into 64 bits.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"an object was expected, not {_shown(values)}")
    hints: Mapping[str, Any] = _hints(kind)
    optional = kind._field_defaults  # type: ignore[attr-defined]
    for name in hints:
        if name not in values and name not in optional:
            raise ValueError(f"{name} is missing")
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{_shown(name)} is no field of it")
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} is {_shown(value)}, not {_called(hints[name])}")
    return kind(**values)


_hints = cache(get_type_hints)


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (UnionType, Union):
        return any(_fits(value, one) for one in arguments)
    if hint is NoneType:
        return value is None
    if hint is int:
        return type(value) is int and abs(value) <= LARGEST_WHOLE
    if hint is float:
        return (type(value) is float and math.isfinite(value)) or _fits(value, int)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, arguments[0]) for one in value)
    if origin in (dict, Mapping):
        key, inner = arguments
        return isinstance(value, dict) and all(
            _fits(k, key) and _fits(v, inner) for k, v in value.items()
        )
    return isinstance(value, hint)


def _called(hint: Any) -> str:
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(_called(one) for one in get_args(hint))
    names = {int: "a whole number", float: "a number", str: "a text", NoneType: "null"}
    if get_origin(hint) is list:
        return "a list"
    return names.get(hint, "an object")


def _shown(value: object) -> str:
    """At most 40 characters of it, in one line."""
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        return "a number of more than 64 bits"
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
