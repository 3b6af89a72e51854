"""The live view: the current phase, its rate, the time left, and the machine's load.

On a terminal a few lines that redraw themselves; in a log a plain line now and then; else nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self

from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

LOG_SECONDS = 10.0
"""Between plain lines; a new phase is logged at once."""
REFRESHES_PER_SECOND = 4
RATE_SECONDS = 1.0
"""A rate over less than this is not shown."""
LABEL, PERCENT, AMOUNT, LEAST_BAR = 6, 5, 15, 8
"""Columns of a meter's label, its value in % or in another unit, and the fewest for its bar."""
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Meter(NamedTuple):
    """One figure of the machine's current load."""

    label: str
    value: float | None
    """None: not known, shown as a dash."""
    unit: str
    full: float | None = 100.0
    """The value of a full bar; None: not known, so there is no bar."""

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        if self.unit == "%" or self.full is None:
            return f"{self.value:.0f} {self.unit}"
        return f"{self.value:.1f} of {self.full:.0f} {self.unit}"


Readings = Callable[[], list[list[Meter]]]
"""The machine's load; readings of one inner list share a line."""


@dataclass
class PhaseProgress:
    """The current phase and its progress."""

    name: str = ""
    started: float = field(default_factory=lambda: monotonic())
    done: int = 0
    wanted: int | None = None
    """None: no end is known."""
    unit: str = ""
    against: str = ""
    """The opponent, where the games are those of a match."""
    seconds: float = 0.0
    """Its minimum duration."""
    counted_from: tuple[float, int] | None = None
    """(monotonic seconds, done) where this count began."""

    def count(self, done: int, wanted: int | None, unit: str, seconds: float, against: str) -> None:
        """Take a new count; a count that starts again gets a new rate."""
        if self.counted_from is None or unit != self.unit or done < self.done:
            self.counted_from = (monotonic(), done)
        self.done, self.wanted, self.unit, self.seconds = done, wanted, unit, seconds
        self.against = against

    @property
    def elapsed(self) -> float:
        return monotonic() - self.started

    @property
    def rate(self) -> float | None:
        """Units per second; None while too little was counted."""
        since, before = self.counted_from or (self.started, 0)
        seconds = monotonic() - since
        enough = seconds > RATE_SECONDS and self.done > before
        return (self.done - before) / seconds if enough else None

    @property
    def share(self) -> float | None:
        """Share done, 0 to 1; None where no end is known."""
        if self.wanted is None:
            return None
        parts = [self.done / self.wanted, 1.0]
        if self.seconds:
            parts.append(self.elapsed / self.seconds)
        return min(parts)

    @property
    def seconds_left(self) -> float | None:
        """Until both the count and the seconds are reached; None: not known, or reached."""
        if self.wanted is None:
            return None
        missing = self.wanted - self.done
        rate = self.rate
        if missing > 0 and rate is None:
            return None
        left = max(missing / rate if rate and missing > 0 else 0.0, self.seconds - self.elapsed)
        return left if left > 0 else None

    @property
    def facts(self) -> list[str]:
        """Its count and its rate, in words."""
        if not self.unit:
            return []
        of = f" of {self.wanted:,}" if self.wanted and self.done < self.wanted else ""
        rate = self.rate
        speed = [] if rate is None else [f"{60 * rate:,.0f} {self.unit}/min"]
        rival = f" against {self.against}" if self.against else ""
        return [f"{self.done:,}{of} {self.unit}{rival}", *speed]


def console_on_stderr() -> Console:
    """A console that redraws only on a capable terminal outside of CI.

    FORCE_COLOR makes Rich treat a file as a terminal: that may colour it, but not redraw it.
    """
    console = Console(stderr=True)
    watched = console.file.isatty() and not console.is_dumb_terminal and not os.environ.get("CI")
    return Console(stderr=True, force_interactive=watched)


class LiveView:
    """Shows the current phase and its progress on `console`; silent when `quiet`."""

    def __init__(
        self, console: Console, quiet: bool, readings: Readings, workers: Callable[[], str]
    ) -> None:
        """`workers` returns their state in a few words; "" where there are none."""
        self._console, self._quiet = console, quiet
        self._readings, self._workers = readings, workers
        self.ends_at: float | None = None
        """Predicted end of the whole run, in monotonic seconds; None: not known."""
        self._stage = PhaseProgress()
        self._logged = 0.0
        self._live: Live | None = None
        self._frame, self._width = Text(), console.width

    def __enter__(self) -> Self:
        if self._console.is_interactive and not self._quiet:
            self._live = Live(
                get_renderable=self._redraw,
                console=self._console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def phase(self, name: str) -> None:
        """A new phase begins; logged at once."""
        self._stage = PhaseProgress(name)
        if self._live is None:
            self._log(f"{name} …")

    def progress(
        self, done: int, wanted: int | None, unit: str, seconds: float = 0.0, against: str = ""
    ) -> None:
        """`done` of `wanted` (None: no end known) of the phase's `unit`, like games.

        The phase lasts at least `seconds`; `against` names the opponent of a match.
        """
        self._stage.count(done, wanted, unit, seconds, against)
        if self._live is None and monotonic() - self._logged >= LOG_SECONDS:
            self._log(self._line())

    # -- in a log -----------------------------------------------------------------------------

    def _log(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            self._logged = monotonic()

    def _line(self) -> str:
        stage, workers = self._stage, self._workers()
        left = stage.seconds_left
        parts = [stage.name, *stage.facts]
        parts += [] if left is None else [f"{left:.0f} s left"]
        parts += self._whole
        parts += [workers] if workers else []
        parts += [f"{r.label} {r}" for readings in self._readings() for r in readings]
        return " · ".join(parts)

    # -- on a terminal ------------------------------------------------------------------------

    def _redraw(self) -> Text:
        width = self._console.width
        if width < self._width:
            self._erase_wrapped(width)
        self._frame, self._width = self._drawn(width), width
        return self._frame

    def _erase_wrapped(self, width: int) -> None:
        """A terminal made narrower has wrapped the lines drawn before: go up over the surplus."""
        lengths = [cell_len(line) for line in self._frame.plain.split("\n")]
        surplus = sum(-(-length // width) - 1 for length in lengths if length)
        erase = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
        self._console.control(Control(ControlType.CARRIAGE_RETURN, *surplus * erase))

    def _drawn(self, width: int) -> Text:
        """All lines, each no wider than the terminal."""
        stage, workers = self._stage, self._workers()
        turn = SPINNER[int(stage.elapsed * REFRESHES_PER_SECOND) % len(SPINNER)]
        left = stage.seconds_left
        until = "" if left is None else f" · {left:.0f} s left"
        lines = [_ends(f"{turn} {stage.name}", f"{stage.elapsed:.0f} s{until}", width)]
        share = stage.share
        if share is not None:
            percent = f" {100 * share:3.0f} %"
            bar = _bar(share, max(LEAST_BAR, width - 2 - len(percent)), "green", self._ascii)
            lines.append(Text("  ").append_text(bar).append(percent))
        facts = [*stage.facts, *self._whole, *([workers] if workers else [])]
        lines += [Text("  " + " · ".join(facts))] if facts else []
        lines += [self._meters(readings, width) for readings in self._readings()]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n", no_wrap=True).join(lines)

    @property
    def _whole(self) -> list[str]:
        """Time left of the whole run, in words, where it has more than the current phase."""
        if self.ends_at is None:
            return []
        return [f"all done in about {in_words(max(0.0, self.ends_at - monotonic()))}"]

    def _meters(self, readings: list[Meter], width: int) -> Text:
        """A line of bars of equal width."""
        line, each = Text(), (width - 2) // max(2, len(readings)) - 2
        for reading in readings:
            line.append("  " + reading.label.ljust(LABEL) + " ", style="bold")
            value = f" {reading!s:>{PERCENT if reading.unit == '%' else AMOUNT}}"
            room = max(LEAST_BAR, each - LABEL - 1 - len(value))
            if reading.value is None or not reading.full:
                line.append(" " * room)
            else:
                line.append_text(_bar(reading.value / reading.full, room, "cyan", self._ascii))
            line.append(value)
        return line

    @property
    def _ascii(self) -> bool:
        return not self._console.encoding.lower().startswith("utf")


def in_words(seconds: float) -> str:
    """'40 s', '12 min', '5.5 hours' or '3.1 days'."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _bar(share: float, width: int, colour: str, ascii_only: bool) -> Text:
    """`width` columns, of which `share` (0 to 1) is full; readable without colours."""
    full = round(min(max(share, 0.0), 1.0) * width)
    done, rest = "#-" if ascii_only else "━┄"
    return Text(done * full, style=colour).append(rest * (width - full), style="bright_black")


def _ends(left: str, right: str, width: int) -> Text:
    """Two texts at the ends of a line."""
    gap = max(1, width - cell_len(left) - cell_len(right))
    return Text(left, style="bold").append(" " * gap + right, style="not bold")
