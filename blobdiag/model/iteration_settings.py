"""What `blobdiag iteration` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blobdiag.model.errors import UserError
from blobdiag.model.schedule_option import parse_schedule
from blobdiag.model.settings import Settings
from blobdiag.model.shared_options import MAX_SIMULATIONS, Training


@dataclass(frozen=True, kw_only=True)
class IterationSettings(Training, Settings):
    """The shared options, and those of a training run."""

    def check(self) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        super().check()
        if "deals" in self.given and self.evaluate_every is None and not self.resume:
            raise UserError("--deals needs --evaluate-every: without it no matches are played")
        if self.resume and self.run_dir is None:
            raise UserError("--resume needs --run-dir, the folder of the run to resume")
        simulations = parse_schedule(self.schedule).get("simulations")
        if simulations and max(simulations.first, simulations.last) > MAX_SIMULATIONS:
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
