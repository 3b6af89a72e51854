"""The interface through which a measurement shows its progress."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self


class Screen(Protocol):
    """A progress display, entered while a measurement runs."""

    ends_at: float | None
    """Expected end of the measurement in monotonic seconds; None: unknown."""

    def phase(self, name: str) -> None:
        """Show the beginning of a phase."""

    def progress(
        self, done: int, wanted: int | None, unit: str, seconds: float = 0.0, against: str = ""
    ) -> None:
        """Show that `done` of `wanted` units are done; the phase lasts at least `seconds`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
