"""How much runs of the same code differ on a machine: stored per user, used by `report diff`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from blobdiag.model.comparison import Spread
from blobdiag.model.errors import UserError
from blobdiag.store.files import first_problem, read_entries, store_file, write_entry

FILE = "spread.json"


class StoredSpread(NamedTuple):
    """A Spread, with the bounds of one that could be measured."""

    log_sd: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    freedom: Annotated[int, Field(ge=1, le=1_000_000)]


SPREADS: Final = TypeAdapter(dict[str, StoredSpread])


def save_spreads(key: str, spreads: Mapping[str, Spread]) -> Path:
    """Write a workload's spreads by figure, replacing older ones. Raises UserError."""
    return write_entry(FILE, key, {name: spread._asdict() for name, spread in spreads.items()})


def load_spreads(key: str) -> dict[str, Spread]:
    """A workload's spreads by figure; none where none are stored. Raises UserError."""
    stored = read_entries(FILE).get(key, {})
    try:
        spreads = SPREADS.validate_python(stored, strict=True)
    except ValidationError as error:
        raise UserError(
            f"{store_file(FILE)} holds no valid spreads for this workload "
            f"({first_problem(error)}): run `blobdiag report spread` again"
        ) from None
    return {name: Spread(one.log_sd, one.freedom) for name, one in spreads.items()}
