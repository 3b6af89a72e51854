"""How much runs of the same code differ on a machine: stored per user, used by `report diff`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from blobdiag.model.comparison import Spread
from blobdiag.model.errors import UserError
from blobdiag.store.files import read_entries, store_file, write_entry

FILE = "spread.json"


def save_spreads(key: str, spreads: Mapping[str, Spread]) -> Path:
    """Write a workload's spreads by figure, replacing older ones. Raises UserError."""
    return write_entry(FILE, key, {name: spread._asdict() for name, spread in spreads.items()})


def load_spreads(key: str) -> dict[str, Spread]:
    """A workload's spreads by figure; none where none are stored. Raises UserError."""
    try:
        return {n: Spread(**spread) for n, spread in read_entries(FILE).get(key, {}).items()}
    except (AttributeError, TypeError):
        raise UserError(f"{store_file(FILE)} holds no spreads for this workload") from None
