"""Workers that play the same games: their generators have one seed."""

from __future__ import annotations

from itertools import combinations

from blobdiag.diagnosis import gains
from blobdiag.diagnosis.causes._cause import Cause, Seen
from blobdiag.diagnosis.facts import arms, self_play_minutes
from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord

# Two workers play the same games when half of their deals are the other's. By chance, in the
# smallest game (3 players, 1 card: 2 million deals), even 2 of 4 meet once in 10^11 pairs.
SAME_DEALS_SHARE = 0.5
MIN_DEALS = 4


def _in_engine(report: Report) -> Seen | None:
    evidence, dealt, distinct = [], 0, 0
    for arm in arms(report):
        pairs = [(a, b) for a, b in combinations(arm, 2) if _shared(a, b) >= SAME_DEALS_SHARE]
        if not pairs:
            continue
        evidence += [
            f"workers {a.worker} and {b.worker} (pids {a.pid}, {b.pid}): "
            f"{len(set(a.deals) & set(b.deals))} of their first {min(len(a.deals), len(b.deals))} "
            "deals are the same"
            for a, b in pairs
        ]
        deals = [deal for worker in arm for deal in set(worker.deals)]
        dealt, distinct = dealt + len(deals), distinct + len(set(deals))
    if not evidence:
        return None
    copies = 1 - distinct / dealt
    minutes = self_play_minutes(report)
    return Seen(
        title=f"Workers play the same games: {copies:.0%} of the deals are copies",
        cause="Workers draw from generators with one seed, so each deals the cards of the others.",
        evidence=evidence,
        remedy=(
            "Give each worker its own seed: np.random.SeedSequence(seed).spawn(workers)[worker], "
            "or draw from (seed, game number)"
        ),
        gain=gains.saved(
            None if minutes is None else minutes * copies,
            "the share of the deals that are copies, of self-play's minutes: time spent on "
            "examples that are already there",
        ),
    )


def _shared(a: WorkerRecord, b: WorkerRecord) -> float:
    """Share of the fewer deals of two workers that are the other's too."""
    one, other = set(a.deals), set(b.deals)
    fewer = min(len(one), len(other))
    return len(one & other) / fewer if a.worker != b.worker and fewer >= MIN_DEALS else 0.0


CAUSE = Cause(
    name="same-games",
    rank=100,
    summary="Workers play the same games: they draw from one seed",
    seen_as=f"two workers that share {100 * SAME_DEALS_SHARE:.0f} % of their first deals or more",
    in_engine=_in_engine,
)
