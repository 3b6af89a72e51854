"""What `blobdiag evaluate` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from blobdiag.model.errors import UserError
from blobdiag.model.option import at_least, option, options_of
from blobdiag.model.settings import Settings
from blobdiag.model.shared_options import (
    MOST_DEALS,
    MOST_LANES,
    MOST_THREADS,
    Output,
    Placement,
    Search,
    TimeLimit,
    check_seed,
)

GROUPS = (TimeLimit, Search, Placement, Output)
"""The shared options that matches have a use for."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Settings):
    """The shared options as far as they matter, and those of the matches."""

    player: str = option(
        "Arguments",
        "Weights (safetensors or a state dict), or the folder of a training run: its newest "
        "network, with the game and the search of that run; or random, rules or search",
        metavar="CHECKPOINT",
        is_argument=True,
    )
    against: tuple[str, ...] = option(
        "Workload",
        "Opponent: random; rules (of thumb); search (without a network); raw (the network's own "
        "policy, no search); or weights. May be repeated",
        default=("random", "rules"),
        metavar="OPPONENT",
    )
    deals: int = option(
        "Workload",
        "Number of deals; each is played once with the player in every seat",
        default=1000,
        check=at_least(1, MOST_DEALS),
    )
    seed: int = option(
        "Workload", "Seed of the deals, which self-play never uses", default=0, check=check_seed
    )
    threads: int | None = option(
        "Engine",
        "Threads that play; default: one per core",
        default=None,
        check=at_least(1, MOST_THREADS),
    )
    lanes: int | None = option(
        "Engine", "Games in progress per thread", default=None, check=at_least(1, MOST_LANES)
    )

    def check(self) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        super().check()
        twice = [name for k, name in enumerate(self.against) if name in self.against[:k]]
        if twice:
            raise UserError(f"--against {twice[0]} is given twice")

    @property
    def plays_matches(self) -> bool:
        """It does nothing else."""
        return True

    def for_report(self) -> dict[str, str | int | float | bool | None]:
        """As plain values, without the options that have no part in it."""
        used = options_of(EvaluationSettings, GROUPS)
        return {name: value for name, value in super().for_report().items() if name in used}
