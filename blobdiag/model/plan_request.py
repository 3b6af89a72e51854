"""What `blobdiag plan` was asked to compute."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from blobdiag.model.errors import UserError
from blobdiag.model.option import above_zero, at_least, check_values, option
from blobdiag.model.shared_options import MOST_GAMES, MOST_ITERATIONS, MOST_REUSE

MOST_DAYS = 1_000_000
MOST_CARD_GB = 1_000_000
MOST_PRICE = 1_000_000_000
MOST_EXAMPLES_PER_SECOND = 10**12


class Games(NamedTuple):
    """Games of the first and of the last iteration; in between they grow linearly."""

    first: int
    last: int

    @property
    def mean(self) -> float:
        return (self.first + self.last) / 2

    @classmethod
    def parse(cls, text: str) -> Games:
        """Read "10000" or "1000..10000". Raises UserError."""
        match = re.fullmatch(r"(\d{1,12})(?:\.\.(\d{1,12}))?", text)
        games = match and cls(int(match[1]), int(match[2] or match[1]))
        if not games or min(games) < 1 or max(games) > MOST_GAMES:
            raise UserError(
                f"--games must be a number from 1 to {MOST_GAMES:,}, or FIRST..LAST, not {text!r}"
            )
        return games


def check_price(price: float) -> None:
    """Raises ValueError for what is no price."""
    if not 0 <= price <= MOST_PRICE:
        raise ValueError(f"must be from 0 to {MOST_PRICE:,}, not {price:g}")


def check_prices(prices: Iterable[float]) -> None:
    """Raises ValueError for the first that is none."""
    for price in prices:
        check_price(price)


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What to plan for; None: as the first report planned, or not asked for."""

    iterations: int | None = option(
        "Training",
        "Number of iterations; default: as the first report planned, or 500",
        default=None,
        check=at_least(1, MOST_ITERATIONS),
    )
    games: str | None = option(
        "Training",
        "Games per iteration, or from the first iteration to the last, growing evenly; default: "
        "as the first report planned",
        default=None,
        metavar="N|FIRST..LAST",
        check=Games.parse,
    )
    reuse: float | None = option(
        "Training",
        "Number of times that each new example is trained on; default: the report's",
        default=None,
        check=above_zero(below=MOST_REUSE),
    )
    examples_per_second: float | None = option(
        "Training",
        "Training speed to assume where none was measured",
        default=None,
        check=above_zero(below=MOST_EXAMPLES_PER_SECOND),
    )
    days: float | None = option(
        "Question",
        "Compute how fast self-play must be to end in this many days",
        default=None,
        check=above_zero(below=MOST_DAYS),
    )
    card_gb: float | None = option(
        "Question",
        "Compute the largest batch and number of lanes for a GPU with this many GB",
        default=None,
        check=above_zero(below=MOST_CARD_GB),
    )
    price_per_kwh: float | None = option(
        "Prices", "Price of a kWh, in any currency", default=None, check=check_price
    )
    price_per_hour: tuple[float, ...] = option(
        "Prices",
        "Price of an hour of the machine; once, or once for each report",
        default=(),
        check=check_prices,
    )
    accept_invalid: bool = option(
        "Validity", "Also plan with interrupted or invalid reports", default=False
    )

    def check(self, reports: int) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        check_values(self)
        if len(self.price_per_hour) not in (0, 1, reports):
            raise UserError(
                f"--price-per-hour is given once, or once for each report: {reports} reports, "
                f"{len(self.price_per_hour)} prices"
            )
