"""How much runs of the same code differ on a machine: kept per user, used by `report diff`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from blobdiag.model.comparison import Spread
from blobdiag.model.errors import UserError
from blobdiag.store.files import keep, kept_file, read_kept

FILE = "spread.json"


def keep_spreads(key: str, spreads: Mapping[str, Spread]) -> Path:
    """Keep a workload's spreads by figure, in place of older ones. Raises UserError."""
    return keep(FILE, key, {name: spread._asdict() for name, spread in spreads.items()})


def kept_spreads(key: str) -> dict[str, Spread]:
    """A workload's spreads by figure; none where none were kept. Raises UserError."""
    try:
        return {n: Spread(**spread) for n, spread in read_kept(FILE).get(key, {}).items()}
    except (AttributeError, TypeError):
        raise UserError(f"{kept_file(FILE)} holds no spreads for this workload") from None
