"""What `blobdiag run` watches, and how."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RecordArguments(StrEnum):
    """What a report has of command lines."""

    NONE = "none"
    """The programs' names."""
    MASKED = "masked"
    """All arguments, without secrets and absolute paths."""
    ALL = "all"
    """All arguments as they are."""


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
    record_arguments: RecordArguments = RecordArguments.MASKED
