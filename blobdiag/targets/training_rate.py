"""How fast an engine trained, from the moments at which its steps ended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blobdiag.model.base import Metric
from blobdiag.model.names import EXAMPLES_PER_SECOND
from blobdiag.model.statistics import rate

MOST_BLOCKS = 200


def training_rate(
    trainings: Sequence[Sequence[tuple[float, float]]], whole: float | None
) -> Metric:
    """Examples per second over the steps, each training's first left out.

    It pays for what is made once. A step is its end in monotonic seconds and its examples; `whole`
    is the rate of all training, which stands where no training had a second step.
    """
    seconds = np.concatenate([np.diff([end for end, _ in steps]) for steps in ([], *trainings)])
    counts = np.concatenate([[float(n) for _, n in steps[1:]] for steps in ([], *trainings)])
    if not len(seconds):
        return Metric(
            name=EXAMPLES_PER_SECOND,
            value=whole,
            unit="examples/s",
            samples=1,
            reason="a single step: an interval needs more, so raise --games",
        )
    # A few hundred blocks say as much as ten thousand steps.
    blocks = np.array_split(np.arange(len(seconds)), min(len(seconds), MOST_BLOCKS))
    return rate(
        EXAMPLES_PER_SECOND,
        "examples/s",
        [float(counts[block].sum()) for block in blocks],
        [float(seconds[block].sum()) for block in blocks],
    )
