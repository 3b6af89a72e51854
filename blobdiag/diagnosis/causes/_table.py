"""The catalogue as the Markdown table of docs/diagnosis.md."""

from __future__ import annotations

from blobdiag.diagnosis.causes import CATALOGUE
from blobdiag.diagnosis.causes._cause import Cause


def table() -> str:
    """A row for each cause, by name, without a line break at the end."""
    head = ("finding", "what is wrong", "seen as", "found in")
    causes = sorted(CATALOGUE.values(), key=lambda cause: cause.name)
    rows = [head, ("---",) * len(head), *map(_row, causes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(cause: Cause) -> tuple[str, ...]:
    where = ["engines"] * bool(cause.in_engine) + ["programs"] * bool(cause.in_program)
    return f"`{cause.name}`", cause.summary, cause.seen_as, ", ".join(where)
