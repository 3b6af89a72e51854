"""The live view: what is going on, how fast, how long still, and what the machine does meanwhile.

On a terminal one line that redraws itself; in a log a plain line now and then; else nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

LOG_SECONDS = 5.0
"""Between plain lines."""

Reading = Callable[[], list[tuple[str, float | None, str]]]
"""(label, value, unit) of what to show of the machine; None is shown as a dash."""


class LiveView:
    """Shows the phase at hand and its progress on `console`; silent when `quiet`."""

    def __init__(self, console: Console, quiet: bool, reading: Reading) -> None:
        self._console, self._quiet, self._reading = console, quiet, reading
        self._phase, self._started = "", monotonic()
        self._done, self._unit = 0, ""
        self._wanted: int | None = None
        self._rate_from = (self._started, 0)
        self._logged = 0.0
        self._spinner = Spinner("dots")
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(
                get_renderable=self._draw,
                console=self._console,
                refresh_per_second=4,
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
        """A new phase begins; said at once in a log."""
        self._phase, self._started = name, monotonic()
        self._done, self._wanted, self._unit = 0, None, ""
        self._rate_from = (self._started, 0)
        if self._live is None and not self._quiet:
            self._console.print(f"{name} …", highlight=False)
            self._logged = monotonic()

    def progress(self, done: int, wanted: int | None, unit: str) -> None:
        """`done` of `wanted` (None: no end known) of the phase's `unit`, like games."""
        if unit != self._unit or done < self._done:
            self._rate_from = (monotonic(), done)
        self._done, self._wanted, self._unit = done, wanted, unit
        if self._live is None and not self._quiet and monotonic() - self._logged >= LOG_SECONDS:
            self._console.print(self._line(), highlight=False, soft_wrap=True)
            self._logged = monotonic()

    def _rate(self) -> float | None:
        """Units per second of this phase."""
        since, before = self._rate_from
        seconds = monotonic() - since
        return (self._done - before) / seconds if seconds > 1 and self._done > before else None

    def _line(self) -> str:
        parts = [self._phase]
        rate = self._rate()
        if self._unit:
            of = f" of {self._wanted:,}" if self._wanted else ""
            parts.append(f"{self._done:,}{of} {self._unit}")
        if rate is not None:
            parts.append(f"{60 * rate:,.0f} {self._unit}/min")
            if self._wanted and self._wanted > self._done:
                parts.append(f"{(self._wanted - self._done) / rate:.0f} s left")
        parts += [
            f"{label} –" if value is None else f"{label} {value:.0f} {unit}"
            for label, value, unit in self._reading()
        ]
        return " · ".join(parts)

    def _draw(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        line = Text(f"{self._line()} · {monotonic() - self._started:.0f} s", no_wrap=True)
        line.overflow = "ellipsis"
        grid.add_row(self._spinner, line)
        return grid
