"""What `blobdiag run` watches, and how."""

from __future__ import annotations

from dataclasses import dataclass


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
