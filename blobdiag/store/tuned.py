"""What `blobdiag tune` found best: stored per user, used by `--tuned`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from blobdiag.model.errors import UserError
from blobdiag.model.hardware import Hardware
from blobdiag.model.settings import Settings
from blobdiag.store.files import read_entries, store_file, write_entry

FILE = "tuned.json"

AnySettings = TypeVar("AnySettings", bound=Settings)


class Tuned(NamedTuple):
    """A setting of the engine, and the rate it reached when it was measured."""

    workers: int
    threads: int
    lanes: int
    """Per worker."""
    dtype: str
    games_per_minute: float

    @property
    def flags(self) -> str:
        """The exact flags that ask for it."""
        return (
            f"--workers {self.workers} --threads {self.threads} --lanes {self.lanes} "
            f"--dtype {self.dtype}"
        )


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
    """The setting stored for this machine and workload. Raises UserError when there is none."""
    try:
        stored = read_entries(FILE)[tuned_key(settings, device, hardware)]
        return Tuned(**stored)
    except (KeyError, TypeError):
        raise UserError(
            f"--tuned: no setting is stored for {device} with this network and search: "
            "run `blobdiag tune` with the same options first"
        ) from None


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
