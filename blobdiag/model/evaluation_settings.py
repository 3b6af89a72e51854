"""What `blobdiag evaluate` was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from blobdiag.model.errors import UserError
from blobdiag.model.settings import Settings

USED = (
    *("device", "players", "cards", "determinizations", "simulations", "seed", "threads", "lanes"),
    *("timeout", "label", "output", "format", "html", "quiet", "player", "against", "deals"),
)
"""Options that matches have a use for."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Settings):
    """The shared options as far as they matter, and those of the matches."""

    player: str
    against: tuple[str, ...]
    deals: int

    def check(self) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        super().check()
        if self.deals < 1:
            raise UserError(f"--deals must be at least 1, not {self.deals}")
        twice = [name for k, name in enumerate(self.against) if name in self.against[:k]]
        if twice:
            raise UserError(f"--against {twice[0]} is given twice")

    @property
    def plays_matches(self) -> bool:
        """It does nothing else."""
        return True

    def for_report(self) -> dict[str, str | int | float | bool | None]:
        """As plain values, without the options that have no part in it."""
        return {n: value for n, value in super().for_report().items() if n in USED}
