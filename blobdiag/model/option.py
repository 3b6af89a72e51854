"""How an option is declared, once: a dataclass field that carries its help, check and use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, field, fields
from enum import Enum
from inspect import get_annotations
from math import inf
from typing import Any

from blobdiag.model.errors import UserError

Check = Callable[[Any], object]
"""Raises ValueError with the rest of the sentence that begins with the option's flag."""


class Use(Enum):
    """Which engine an option is for, where `--engine` names another project's."""

    ANY = "any engine"
    BUILT_IN = "the built-in engine only"
    FACTORY = "passed to the other engine's factory, if given"


@dataclass(frozen=True)
class Option:
    """What the command line, the checks and the report need of an option beside its type."""

    panel: str
    """The heading in the command's help."""
    help: str
    check: Check | None = None
    use: Use = Use.ANY
    metavar: str | None = None
    completions: Callable[[], Iterable[Any]] | None = None
    """What a shell offers: values, or pairs of a value and its meaning."""
    is_argument: bool = False


def option(panel: str, help: str, **more: Any) -> Any:
    """A dataclass field for an option; `default` is the field's, the rest is Option's."""
    own = {"default": more.pop("default")} if "default" in more else {}
    return field(**own, metadata={"option": Option(panel, help, **more)})


def options_of(
    settings: type, groups: tuple[type, ...] | None = None
) -> dict[str, tuple[Field[Any], Option]]:
    """Fields and how they are declared, by name: those of `settings`, then those of its bases.

    Of the bases only those in `groups`; None: of all.
    """
    found: dict[str, tuple[Field[Any], Option]] = {}
    declared = {one.name: one for one in fields(settings)}
    for base in settings.__mro__:
        if groups is None or base is settings or base in groups:
            own = [declared[name] for name in get_annotations(base) if name in declared]
            found |= {one.name: (one, how) for one in own if (how := one.metadata.get("option"))}
    return found


def flag(name: str) -> str:
    """`--plan-games` for `plan_games`."""
    return "--" + name.replace("_", "-")


def check_values(settings: Any) -> None:
    """Run each option's check on its value, if there is one. Raises UserError, in one line."""
    for name, (_, how) in options_of(type(settings)).items():
        value = getattr(settings, name)
        _check_text(name, value)
        if how.check is None or value is None:
            continue
        try:
            how.check(value)
        except ValueError as error:
            raise UserError(f"{flag(name)} {error}") from None


def _check_text(name: str, value: Any) -> None:
    """A byte that is no UTF-8 could not be written to the report; file names may have some."""
    from blobdiag.model.masking import readable  # not for the help, which has no values

    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and text != readable(text):
            raise UserError(f"{flag(name)} must be text in UTF-8, not {text!a}")


# Checks.


def at_least(low: int, most: float = inf) -> Check:
    """Of a whole number."""

    def check(value: int) -> None:
        if value < low:
            raise ValueError(f"must be at least {low}, not {value:,}")
        if value > most:
            raise ValueError(f"must be at most {most:,}, not {value:,}")

    return check


def within(low: float, high: float) -> Check:
    """Both ends included."""

    def check(value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"must be from {low:,} to {high:,}, not {value:,}")

    return check


def above_zero(below: float = inf) -> Check:
    """Of a number that is finite."""

    def check(value: float) -> None:
        if not 0 < value < below:
            limit = "" if below == inf else f" and below {below:,}"
            raise ValueError(f"must be above 0{limit}, not {value:g}")

    return check


def each(check_one: Check) -> Check:
    """Of every value of an option that may be repeated."""

    def check(values: Iterable[Any]) -> None:
        for value in values:
            check_one(value)

    return check


def one_of(*values: str) -> Check:
    """Of a text."""

    def check(value: str) -> None:
        if value not in values:
            raise ValueError(f"must be one of {', '.join(values)}, not {value!r}")

    return check
