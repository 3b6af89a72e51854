"""What `blobdiag tune` found best: stored per user, used by `--tuned`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings
from blobdiag.model.tuned_for import Hardware
from blobdiag.store.files import first_problem, read_entries, store_file, write_entry

FILE = "tuned.json"

AnySettings = TypeVar("AnySettings", bound=Settings)


class Tuned(NamedTuple):
    """A setting of the engine, and the rate it reached when it was measured."""

    workers: Annotated[int, Field(ge=1, le=1024)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    lanes: Annotated[int, Field(ge=1, le=1_000_000)]
    """Per worker."""
    dtype: Annotated[str, Field(pattern="^(float32|bfloat16)$")]
    games_per_minute: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]

    @property
    def flags(self) -> str:
        """The exact flags that ask for it."""
        return (
            f"--workers {self.workers} --threads {self.threads} --lanes {self.lanes} "
            f"--dtype {self.dtype}"
        )


TUNED: Final = TypeAdapter(Tuned)


def tuned_file() -> Path:
    """Where the settings are stored."""
    return store_file(FILE)


def tuned_key(settings: Settings, device: str, hardware: Hardware) -> str:
    """What a tuned setting holds for: hardware, torch, network, search and game, as JSON."""
    return json.dumps(
        {
            "device": device,
            **hardware._asdict(),
            "network": settings.network,
            "search": f"{settings.determinizations}x{settings.simulations}",
            "game": f"{settings.players} players, {settings.cards} cards",
        },
        sort_keys=True,
    )


def load_tuned(settings: Settings, device: str, hardware: Hardware) -> Tuned:
    """The setting stored for this machine and workload.

    Raises UserError when there is none, or none that could be measured on a machine.
    """
    entries = read_entries(FILE)
    key = tuned_key(settings, device, hardware)
    if key not in entries:
        raise UserError(
            f"--tuned: no setting is stored for {device} with this network and search: "
            "run `blobdiag tune` with the same options first"
        )
    try:
        return TUNED.validate_python(entries[key], strict=True)
    except ValidationError as error:
        raise UserError(
            f"--tuned: {tuned_file()} holds no valid setting for {device} with this network and "
            f"search ({first_problem(error)}): run `blobdiag tune` with the same options again"
        ) from None


def check_tuned_file() -> None:
    """Raise UserError where nothing could be stored, before it is measured."""
    tuned_file()
    read_entries(FILE)


def save_tuned(settings: Settings, device: str, tuned: Tuned, hardware: Hardware) -> Path:
    """Write a setting, replacing one of the same key; the file's path. Raises UserError."""
    key = tuned_key(settings, device, hardware)
    return write_entry(FILE, key, tuned._asdict())


def with_tuned(settings: AnySettings, device: str, hardware: Hardware) -> AnySettings:
    """The settings with the tuned ones filled in where `--tuned` asks for them, noted on stderr.

    Flags that were given win. Raises UserError when no setting is stored for this machine.
    """
    if not settings.tuned:
        return settings
    tuned = load_tuned(settings, device, hardware)
    print(f"tuned: {tuned.flags}", file=sys.stderr)
    return replace(
        settings,
        workers=settings.workers or tuned.workers,
        threads=settings.threads or tuned.threads,
        lanes=settings.lanes or tuned.lanes,
        dtype=tuned.dtype if settings.dtype == "auto" else settings.dtype,
    )
