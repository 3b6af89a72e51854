"""`tune --explain` from its settings to its exit code: measure and draw two tables."""

from __future__ import annotations

from statistics import median

import numpy as np
from rich.table import Table

from blobdiag.measure.explain import Chain, check_workload, explain, present_device
from blobdiag.measure.interrupts import exit_code_of
from blobdiag.measure.tuned_for import hardware
from blobdiag.model.figures import figure
from blobdiag.model.settings import Settings
from blobdiag.render.console import new_console
from blobdiag.store.tuned import with_tuned


def explain_and_draw(settings: Settings, seconds: float) -> int:
    """Measure for about so many seconds and print both tables; the exit code."""
    check_workload(settings)
    device = present_device(settings.device)
    settings = with_tuned(settings, device, hardware(device))
    return exit_code_of(lambda: _explain_and_draw(settings, device, seconds))


def _explain_and_draw(settings: Settings, device: str, seconds: float) -> int:
    console = new_console()
    seen = explain(
        settings,
        device,
        seconds,
        lambda dtype: console.print(f"explaining {dtype} self-play on {device} …"),
    )
    console.print(stage_table(seen.stages, seen.evaluations, seen.encoding))
    console.print(chain_table(seen.chain))
    return 0


def stage_table(stages: dict[str, float], evaluations: int, encoding: float) -> Table:
    """Where a search thread's second goes."""
    total = sum(stages.values())
    encoded = encoding * evaluations
    shares = {
        "network": stages["network"],
        "select, decide, deal": stages["select"] - encoded,
        "encode (measured alone)": encoded,
        "softmax, expand, back up": stages["expand"],
        "copies, dtype": stages["copy"],
        "wait for the device": stages["wait"],
        "no game to play": stages["idle"],
        "python": stages["python"],
    }
    drawn = Table("stage", "share", "µs an evaluation", title="Where a second goes", box=None)
    drawn.columns[1].justify = drawn.columns[2].justify = "right"
    for name, seconds in sorted(shares.items(), key=lambda item: -item[1]):
        drawn.add_row(name, f"{100 * seconds / total:.1f} %", f"{1e6 * seconds / evaluations:.2f}")
    return drawn


def chain_table(chain: Chain) -> Table:
    """What each link keeps of the one before, and their product."""
    bare, played = median(chain.bare), median(chain.played)
    ratios = np.array(chain.played) / np.array(chain.bare)
    drawn = Table("link", "keeps", "", title="The chain of limits", box=None)
    drawn.columns[1].justify = "right"
    attained = bare * chain.operations
    drawn.add_row(
        "peak",
        "",
        f"{chain.peak / 1e9:,.0f} GFLOP/s in matrix products, "
        f"{chain.peak / chain.operations:,.0f} evals/s at {chain.operations / 1e6:.1f} MFLOP",
    )
    drawn.add_row(
        "bare network ÷ peak",
        f"{attained / chain.peak:.2f}",
        f"{bare:,.0f} evals/s in batches of {chain.bare_rows}, "
        f"{'eager or graphed' if chain.on_cuda else 'eager'}",
    )
    drawn.add_row("search alone", "", f"{chain.trees:,.0f} evals/s, its network free")
    drawn.add_row(
        "self-play ÷ bare",
        f"{median(ratios):.2f}",
        f"{played:,.0f} evals/s, ratio {ratios.min():.2f} to {ratios.max():.2f} in "
        f"{len(ratios)} rounds",
    )
    if chain.on_cuda:
        # On the CPU the same thread does both; here they run side by side, and one is the limit.
        limit = min(bare, chain.trees)
        drawn.add_row("self-play ÷ limit", f"{played / limit:.2f}", "the lower of those two")
    drawn.add_row("useful ÷ computed", f"{chain.useful:.2f}", "distinct, without padding")
    drawn.add_row(
        "evaluations a game",
        figure(chain.evaluations_per_game),
        f"{chain.evaluations_per_decision:.1f} a decision",
    )
    drawn.add_row("games/min", figure(chain.games_per_minute), "self-play, all workers")
    return drawn
