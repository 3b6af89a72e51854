"""What a measuring command was asked to do, checked before anything starts."""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from blobdiag.diagnosis.expectations import Expectation, with_overrides
from blobdiag.model.errors import UserError
from blobdiag.model.faults import parse
from blobdiag.model.output_format import Format
from blobdiag.model.report_files import REPORTS

MAX_SIMULATIONS = 32_000
"""The engine's own limit, known here without importing it; a test holds the two together."""

MOST_SECONDS = 10_000_000
"""Of --timeout: the timer takes more, but nobody waits so long."""

OF_THE_BUILT_IN = (
    *("determinizations", "simulations", "network", "checkpoint", "lanes", "threads", "tuned"),
    *("dtype", "inject", "reuse", "verify_fix"),
    *("iterations", "run_dir", "resume", "learning_rate", "root_noise", "schedule"),
    *("evaluate_every", "deals"),
)
"""Options that another project's engine has no use for: it chooses these things itself."""
FOR_THE_FACTORY = ("workers", "players", "cards")
"""Options that go to another project's engine where they are given, under the same names."""


@dataclass(frozen=True)
class Settings:
    """The options the measuring commands share; see `blobdiag COMMAND --help` for each."""

    device: str
    games: int
    players: int
    cards: int
    determinizations: int
    simulations: int
    workers: int | None
    lanes: int | None
    threads: int | None
    dtype: str
    network: str
    checkpoint: Path | None
    seed: int
    min_seconds: float
    stall_seconds: float
    plan_iterations: int
    plan_games: int
    reuse: float
    inject: str | None
    expect: tuple[str, ...]
    label: str | None
    output: Path | None
    quiet: bool
    tuned: bool
    timeout: float | None
    format: Format | None
    html: bool
    engine: str | None = None
    """MODULE:FACTORY of another project's engine; None: the built-in one."""
    given: frozenset[str] = frozenset()
    """Names of the options that the command line gives."""

    def check(self) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        positive = ("games", "determinizations", "simulations", "plan_iterations", "plan_games")
        for name in (*positive, "workers", "lanes", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{_option(name)} must be at least 1, not {value}")
        if self.simulations > MAX_SIMULATIONS:
            raise UserError(
                f"--simulations must be at most {MAX_SIMULATIONS:,}, not {self.simulations:,}"
            )
        for name in ("min_seconds", "stall_seconds", "reuse"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise UserError(f"{_option(name)} must be above 0, not {value:g}")
        self._check_timeout()
        if not re.fullmatch(r"auto|cpu|cuda(:(0|[1-9]\d*))?", self.device):
            raise UserError(f"--device must be auto, cpu, cuda or cuda:N, not {self.device!r}")
        if self.dtype not in ("auto", "float32", "bfloat16"):
            raise UserError(f"--dtype must be auto, float32 or bfloat16, not {self.dtype!r}")
        self._check_injection()
        self._check_engine()
        try:
            with_overrides(self.expect)
        except ValueError as error:
            raise UserError(str(error)) from None

    def _check_timeout(self) -> None:
        if self.timeout is None:
            return
        if not 0 < self.timeout < MOST_SECONDS:
            raise UserError(
                f"--timeout must be above 0 and below {MOST_SECONDS:,}, not {self.timeout:g}"
            )
        if not hasattr(signal, "setitimer"):
            raise UserError("--timeout needs a timer signal, which this system does not have")

    def _check_injection(self) -> None:
        if self.inject is None:
            return
        fault, rows = parse(self.inject)
        if fault.name == "tiny-batches" and self.determinizations > (rows or fault.default):
            raise UserError(
                f"--inject {self.inject}: a batch holds at least one decision's trees, "
                f"--determinizations {self.determinizations}"
            )

    def _check_engine(self) -> None:
        if self.engine is None:
            return
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", self.engine):
            raise UserError(f"--engine must read MODULE:FACTORY, not {self.engine!r}")
        if sys.platform != "linux":
            raise UserError("--engine needs Linux: it holds and ends processes by what /proc shows")
        for name in OF_THE_BUILT_IN:
            if name in self.given:
                raise UserError(
                    f"{_option(name)} is for the built-in engine: "
                    "with --engine the factory decides that"
                )

    @property
    def reports(self) -> Path:
        """The folder of the report where `--output` names none."""
        return REPORTS

    @property
    def plays_matches(self) -> bool:
        """Whether networks meet opponents."""
        return False

    @property
    def expectations(self) -> dict[str, Expectation]:
        """By name, with `--expect` applied. Raises ValueError for a bad override."""
        return with_overrides(self.expect)

    def for_report(self) -> dict[str, str | int | float | bool | None]:
        """As plain values; paths and lists as text. None: not chosen by an option."""
        values = {name: _plain(value) for name, value in asdict(self).items() if name != "given"}
        if self.engine is None:
            return values
        unused = {*OF_THE_BUILT_IN, *FOR_THE_FACTORY} - self.given - {"reuse", "verify_fix"}
        return values | dict.fromkeys(unused)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
