"""What `blobdiag iteration` was asked for, and what of it a training run's folder keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import blobdiag.targets.builtin.own_engine  # noqa: F401
from blobdiag.model.errors import UserError
from blobdiag.model.settings import MAX_SIMULATIONS, Settings
from engine.training.iterations import TrainingSettings
from engine.training.schedules import Ramp

SCHEDULED = ("games", "determinizations", "simulations", "window")
OF_THE_MACHINE = ("device", "workers", "threads", "lanes", "dtype")
BESIDE_THE_TRAINING = ("iterations", "evaluate_every", "deals")
"""Options that a resumed run may have otherwise."""
BUFFER_EXAMPLES = 300_000
"""Room of the replay buffer, at least."""


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """The shared options, and those of a training run."""

    iterations: int | None
    """None: not asked for."""
    run_dir: Path | None
    resume: bool
    learning_rate: float
    root_noise: float
    schedule: tuple[str, ...]
    evaluate_every: int | None
    """Iterations; None: no matches are played."""
    deals: int
    """Of each match."""

    def check(self) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        super().check()
        if self.iterations is not None and self.iterations < 1:
            raise UserError(f"--iterations must be at least 1, not {self.iterations}")
        for name in ("evaluate_every", "deals"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if "deals" in self.given and self.evaluate_every is None and not self.resume:
            raise UserError("--deals are those of matches: ask for these with --evaluate-every")
        if self.resume and self.run_dir is None:
            raise UserError("--resume needs --run-dir, the folder of the run to go on with")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"--learning-rate must be above 0, not {self.learning_rate:g}")
        if not 0 <= self.root_noise <= 1:
            raise UserError(f"--root-noise must be from 0 to 1, not {self.root_noise:g}")
        ramps = ramps_of(self.schedule)
        if "simulations" in ramps and ramps["simulations"].most > MAX_SIMULATIONS:
            raise UserError(f"--schedule simulations: at most {MAX_SIMULATIONS:,}")

    @property
    def reports(self) -> Path:
        """In the run's folder, where there is one."""
        return super().reports if self.run_dir is None else self.run_dir / "reports"

    @property
    def several(self) -> bool:
        """Whether this is a training, not one iteration that is only measured."""
        return self.run_dir is not None or (self.iterations or 1) > 1

    @property
    def plays_matches(self) -> bool:
        """Where it was asked for."""
        return self.evaluate_every is not None

    @property
    def training(self) -> TrainingSettings:
        """As the engine takes it."""
        ramps = ramps_of(self.schedule)
        return TrainingSettings(
            iterations=self.iterations or 1,
            games=ramps.get("games", Ramp.level(self.games)),
            determinizations=ramps.get("determinizations"),
            simulations=ramps.get("simulations"),
            window=ramps.get("window"),
            players=self.players,
            cards=self.cards,
            reuse=self.reuse,
            root_noise=self.root_noise,
            evaluate_every=self.evaluate_every,
            deals=self.deals,
        )


def ramps_of(schedule: Sequence[str]) -> dict[str, Ramp]:
    """By name, from texts like "games=500..5000". Raises UserError."""
    ramps = {}
    for text in schedule:
        parts = re.fullmatch(r"(\w+)=(\d{1,9})\.\.(\d{1,9})", text)
        if not parts or parts[1] not in SCHEDULED or not (int(parts[2]) and int(parts[3])):
            raise UserError(
                f"--schedule {text!r} must be NAME=FIRST..LAST, whole numbers from 1, with "
                f"NAME one of: {', '.join(SCHEDULED)}"
            )
        ramps[parts[1]] = Ramp(int(parts[2]), int(parts[3]))
    return ramps


def buffer_room(training: TrainingSettings) -> int:
    """Examples the replay buffer has room for: an iteration whose every decision is searched."""
    iteration = training.games.most * training.players * (training.cards + 1)
    return max(BUFFER_EXAMPLES, iteration, training.window.most if training.window else 0)


class RunConfiguration(BaseModel):
    """run.json: what decides how a run goes; what a resumed one takes from it."""

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
    def of(cls, settings: RunSettings, training_dtype: str) -> RunConfiguration:
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
        ramps = ramps_of(self.schedule)
        return {n: ramps[n].last if n in ramps else getattr(self, n) for n in names}

    def resumed(self, settings: RunSettings) -> RunSettings:
        """The settings of a run that goes on.

        Of the options that the command line gives, the number of iterations, the matches and what
        is of the machine count; another one must be as it was. Raises UserError.
        """
        kept = self.model_dump(exclude={"version", "training_dtype"})
        for name in settings.given & kept.keys():
            if name in (*OF_THE_MACHINE, *BESIDE_THE_TRAINING):
                del kept[name]
            elif getattr(settings, name) != kept[name]:
                option = "--" + name.replace("_", "-")
                raise UserError(
                    f"{option}: the run in {settings.run_dir} has {kept[name]}, and --resume goes "
                    "on with it"
                )
        resumed = replace(settings, **kept)
        resumed.check()
        return resumed
