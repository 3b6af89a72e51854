"""The forms in which a report can be printed."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """What `--format` can be."""

    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
