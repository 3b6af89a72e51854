"""A training's settings as the engine takes them, and what run.json holds of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.errors import UserError
from blobdiag.model.iteration_settings import IterationSettings
from blobdiag.model.option import flag
from blobdiag.model.schedule_option import parse_schedule
from engine.training.checkpoint import CheckpointError, read_text
from engine.training.iterations import TrainingSettings
from engine.training.schedules import Ramp

MACHINE_OPTIONS = ("device", "workers", "threads", "lanes", "dtype")
CHANGEABLE_OPTIONS = (*MACHINE_OPTIONS, "iterations", "evaluate_every", "deals")
"""Options that a resumed run may have otherwise."""
BUFFER_EXAMPLES = 300_000
"""Room of the replay buffer, at least."""


def training_settings(settings: IterationSettings) -> TrainingSettings:
    """As the engine takes them. Raises UserError for a schedule that is none."""
    ramps = ramps_of(settings.schedule)
    return TrainingSettings(
        iterations=settings.iterations or 1,
        games=ramps.get("games", Ramp.level(settings.games)),
        determinizations=ramps.get("determinizations"),
        simulations=ramps.get("simulations"),
        window=ramps.get("window"),
        players=settings.players,
        cards=settings.cards,
        reuse=settings.reuse,
        root_noise=settings.root_noise,
        evaluate_every=settings.evaluate_every,
        deals=settings.deals,
    )


def ramps_of(schedule: Sequence[str]) -> dict[str, Ramp]:
    """By name, from texts like "games=500..5000". Raises UserError."""
    return {name: Ramp(one.first, one.last) for name, one in parse_schedule(schedule).items()}


def buffer_room(training: TrainingSettings) -> int:
    """Examples the replay buffer has room for: an iteration whose every decision is searched."""
    iteration = training.games.most * training.players * (training.cards + 1)
    return max(BUFFER_EXAMPLES, iteration, training.window.most if training.window else 0)


class RunConfiguration(BaseModel):
    """run.json: what decides how a run goes, and what a resumed one takes from it."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    iterations: int
    games: int
    players: int
    cards: int
    determinizations: int
    simulations: int
    network: str
    seed: int
    reuse: float
    learning_rate: float
    root_noise: float = TrainingSettings().root_noise
    schedule: tuple[str, ...]
    evaluate_every: int | None = None
    deals: int = TrainingSettings().deals
    device: str
    workers: int | None
    threads: int | None
    lanes: int | None
    dtype: str
    training_dtype: str

    @classmethod
    def of(cls, settings: IterationSettings, training_dtype: str) -> RunConfiguration:
        """`settings` with everything chosen that is to stay so."""
        values = {
            name: getattr(settings, name) for name in cls.model_fields.keys() & vars(settings)
        }
        return cls(
            **{**values, "iterations": settings.iterations or 1}, training_dtype=training_dtype
        )

    @classmethod
    def read(cls, text: str, path: Path) -> RunConfiguration:
        """Raises UserError for what is no configuration; `path` names it."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "run.json"
            raise UserError(
                f"{path} is no configuration of a run: {field}: {first['msg']}"
            ) from None

    def at_the_end(self) -> dict[str, int]:
        """The game, and the search of the last iteration: what its networks are to be measured at.

        Raises UserError for a schedule that is none.
        """
        names = ("players", "cards", "determinizations", "simulations")
        ramps = parse_schedule(self.schedule)
        return {n: ramps[n].last if n in ramps else getattr(self, n) for n in names}

    def resumed(self, settings: IterationSettings) -> IterationSettings:
        """The settings of a run that goes on.

        Of the options that the command line gives, the number of iterations, the matches and what
        is of the machine count; another one must be as it was. Raises UserError.
        """
        kept = self.model_dump(exclude={"version", "training_dtype"})
        for name in settings.given & kept.keys():
            if name in CHANGEABLE_OPTIONS:
                del kept[name]
            elif getattr(settings, name) != kept[name]:
                raise UserError(
                    f"{flag(name)}: the run in {settings.run_dir} has {kept[name]}, and --resume "
                    "does not change that"
                )
        resumed = replace(settings, **kept)
        resumed.check()
        return resumed


def read_configuration(path: Path, named: str) -> RunConfiguration:
    """A run.json. Raises UserError, with `named` before it, for what cannot be read."""
    try:
        return RunConfiguration.read(read_text(path), path)
    except (CheckpointError, OSError) as error:
        raise UserError(f"{named}: {error}") from None
