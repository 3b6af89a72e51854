"""`tune` from its settings to its exit code: sweep, draw, recommend, keep."""

from __future__ import annotations

from rich.table import Table

from blobdiag.measure.interrupts import exit_code_of
from blobdiag.measure.tune import (
    Candidate,
    Sweep,
    SweepRow,
    check_workload,
    present_device,
    recommended,
    tune,
)
from blobdiag.measure.tuned_for import hardware
from blobdiag.model.figures import figure
from blobdiag.model.settings import Settings
from blobdiag.render.console import new_console
from blobdiag.store.tuned import Tuned, check_tuned_file, save_tuned


def tune_and_keep(settings: Settings, seconds: float) -> int:
    """Sweep, recommend, and keep the result for `--tuned`; the exit code. Raises UserError."""
    check_workload(settings)
    check_tuned_file()
    device = present_device(settings.device)
    return exit_code_of(lambda: _tune_and_keep(settings, device, seconds))


def _tune_and_keep(settings: Settings, device: str, seconds: float) -> int:
    console = new_console()
    console.print(f"tuning on {device}: about {seconds:.0f} s of measuring")
    sweep = tune(
        settings,
        device,
        seconds,
        lambda sweep, candidate, row: console.print(line(sweep, candidate, row), soft_wrap=True),
    )
    chosen = recommended(sweep)
    tuned = Tuned(
        chosen.workers,
        chosen.threads,
        chosen.lanes * chosen.threads,
        chosen.dtype,
        sweep.games_per_minute(sweep.rate(chosen)),
    )
    console.print(table(sweep, chosen))
    console.print(runner_up(sweep, chosen))
    console.print(f"use: {tuned.flags}   (or --tuned)", soft_wrap=True)
    print(save_tuned(settings, device, tuned, hardware(device)))
    return 0


def line(sweep: Sweep, candidate: Candidate, row: SweepRow) -> str:
    """One measurement, in a line."""
    gpu = "–" if row.gpu is None else f"{row.gpu:.0f} %"
    return (
        f"{candidate}: {sweep.games_per_minute(row.evaluations_per_second):,.0f} games/min, "
        f"{row.evaluations_per_second:,.0f} evals/s, {row.batches_per_second:,.0f} batches/s, "
        f"mean batch {row.mean_batch:.0f}, GPU {gpu}"
    )


def table(sweep: Sweep, chosen: Candidate) -> Table:
    """All candidates, best first, one marked."""
    drawn = Table("", "workers", "threads", "lanes", "dtype", "games/min", "spread", box=None)
    for column in drawn.columns[1:4] + drawn.columns[5:]:
        column.justify = "right"
    for candidate in sweep.best_first():
        rates = [row.evaluations_per_second for row in sweep.rows[candidate]]
        drawn.add_row(
            "recommended →" if candidate == chosen else "",
            str(candidate.workers),
            str(candidate.threads),
            str(candidate.lanes * candidate.threads),
            candidate.dtype,
            figure(round(sweep.games_per_minute(sweep.rate(candidate)))),
            f"± {50 * (max(rates) - min(rates)) / sweep.rate(candidate):.1f} %"
            if len(rates) > 1
            else "once",
        )
    return drawn


def runner_up(sweep: Sweep, chosen: Candidate) -> str:
    """What the next best would cost."""
    others = [c for c in sweep.best_first() if c != chosen]
    if not others:
        return "there was nothing to compare it with"
    change = 100 * (sweep.rate(others[0]) / sweep.rate(chosen) - 1)
    return f"next: {others[0]}: {change:+.1f} %"
