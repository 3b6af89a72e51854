"""Where a measurement shows how far it has come."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self


class Screen(Protocol):
    """Open while something is measured; the live view of the command line is one."""

    ends_at: float | None
    """When all of it will have ended, in monotonic seconds; None: not known."""

    def phase(self, name: str) -> None:
        """A phase begins."""

    def progress(
        self, done: int, wanted: int | None, unit: str, seconds: float = 0.0, against: str = ""
    ) -> None:
        """So many of `wanted` units are done; the phase lasts `seconds` at least."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
