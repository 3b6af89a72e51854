"""What `blobdiag run` was asked for, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from blobdiag.model.errors import UserError


@dataclass(frozen=True)
class ProgramSettings:
    """The options of `blobdiag run` that decide what is watched and how; see its help."""

    expect_device: str | None
    expect: tuple[str, ...]
    judge: bool
    instrument: bool
    count_every: int
    timeout: float | None
    label: str | None

    def check(self) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        if self.count_every < 1:
            raise UserError(f"--count-every must be at least 1, not {self.count_every}")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise UserError(f"--timeout must be above 0, not {self.timeout:g}")
