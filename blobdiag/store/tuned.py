"""What `blobdiag tune` found best, kept per user and used by `--tuned`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings
from blobdiag.sampling.machine import machine
from blobdiag.store.files import keep, kept_file, read_kept

FILE = "tuned.json"

AnySettings = TypeVar("AnySettings", bound=Settings)


class Tuned(NamedTuple):
    """A setting of the engine, and what it reached when it was measured."""

    workers: int
    threads: int
    lanes: int
    """A worker."""
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
    """Where the settings are kept."""
    return kept_file(FILE)


def tuned_key(settings: Settings, device: str) -> str:
    """What a tuned setting holds for: CPU, cores, GPUs, torch, network and search."""
    host = machine()
    gpus: list[str] = []
    if device.startswith("cuda") and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return json.dumps(
        {
            "device": device,
            "cpu": host.cpu,
            "cores": host.cores_usable,
            "gpus": gpus,
            "torch": torch.__version__,
            "network": settings.network,
            "search": f"{settings.determinizations}x{settings.simulations}",
            "game": f"{settings.players} players, {settings.cards} cards",
        },
        sort_keys=True,
    )


def load_tuned(settings: Settings, device: str) -> Tuned:
    """The setting kept for this machine and workload. Raises UserError when there is none."""
    try:
        kept = read_kept(FILE)[tuned_key(settings, device)]
        return Tuned(**kept)
    except (KeyError, TypeError):
        raise UserError(
            f"--tuned: nothing is kept for {device} with this network and search: "
            "run `blobdiag tune` with the same options first"
        ) from None


def save_tuned(settings: Settings, device: str, tuned: Tuned) -> Path:
    """Keep a setting, in place of an older one for the same key. Raises UserError."""
    return keep(FILE, tuned_key(settings, device), tuned._asdict())


def with_tuned(settings: AnySettings, device: str) -> AnySettings:
    """The settings with the tuned ones filled in where `--tuned` asks for them, said on stderr.

    Flags that were given win. Raises UserError when nothing is kept for this machine.
    """
    if not settings.tuned:
        return settings
    tuned = load_tuned(settings, device)
    print(f"tuned: {tuned.flags}", file=sys.stderr)
    return replace(
        settings,
        workers=settings.workers or tuned.workers,
        threads=settings.threads or tuned.threads,
        lanes=settings.lanes or tuned.lanes,
        dtype=tuned.dtype if settings.dtype == "auto" else settings.dtype,
    )
