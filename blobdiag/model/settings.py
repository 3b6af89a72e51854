"""What a measuring command was asked to do, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blobdiag.model.errors import UserError
from blobdiag.model.faults import parse
from blobdiag.model.option import Use, check_values, flag, options_of
from blobdiag.model.shared_options import (
    Expectations,
    FaultOption,
    OtherEngine,
    Output,
    Placement,
    Planning,
    Search,
    TimeLimit,
    Training,
    Weights,
    Window,
    Workers,
)


@dataclass(frozen=True, kw_only=True)
class Settings(
    Window,
    TimeLimit,
    Search,
    Weights,
    Placement,
    Workers,
    OtherEngine,
    FaultOption,
    Expectations,
    Planning,
    Output,
):
    """The options that the measuring commands share."""

    given: frozenset[str] = frozenset()
    """Names of the options that the command line gives."""

    def check(self) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        check_values(self)
        self._check_injection()
        self._check_engine()

    def _check_injection(self) -> None:
        if self.inject is None:
            return
        fault, rows = parse(self.inject)
        if fault.name == "tiny-batches" and self.determinizations > (rows or fault.default):
            raise UserError(
                f"--inject {self.inject}: a batch holds at least one decision's trees, "
                f"--determinizations {self.determinizations}"
            )

    def _check_engine(self) -> None:
        if self.engine is None:
            return
        for name, (_, how) in options_of(type(self)).items():
            if how.use is Use.BUILT_IN and name in self.given:
                raise UserError(
                    f"{flag(name)} is for the built-in engine: "
                    "with --engine the factory decides that"
                )

    @property
    def reports(self) -> Path:
        """The folder of the report where `--output` names none."""
        from blobdiag.model.report_files import REPORTS  # pydantic is slow to import

        return REPORTS

    @property
    def plays_matches(self) -> bool:
        """Whether networks meet opponents."""
        return False

    @property
    def for_factory(self) -> dict[str, object]:
        """What the command line gives for the factory of another project's engine."""
        options = options_of(type(self)).items()
        names = [name for name, (_, how) in options if how.use is Use.FACTORY]
        return {name: getattr(self, name) for name in names if name in self.given}

    def for_report(self) -> dict[str, str | int | float | bool | None]:
        """As plain values; paths and lists as text. None: not chosen by an option."""
        values = {name: _plain(getattr(self, name)) for name in options_of(type(self))}
        if self.engine is None:
            return values
        return values | dict.fromkeys(_UNUSED_BY_OTHER_ENGINES - self.given)


_UNUSED_BY_OTHER_ENGINES = {
    name
    for group in (Settings, Training)
    for name, (_, how) in options_of(group).items()
    if how.use is not Use.ANY and name != "reuse"
}
"""Unless they are given. Those of a training are among them in every command's report."""


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
