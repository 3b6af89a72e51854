"""The rate of training, from the times at which its steps ended."""

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
    """Examples per second, without the first step of each training, which has one-time costs.

    A step is (end in monotonic seconds, examples). `whole` is the rate over all steps in
    examples/s; it is returned, without an interval, if no training has a second step.
    """
    seconds = np.concatenate([np.diff([end for end, _ in steps]) for steps in ([], *trainings)])
    counts = np.concatenate([[float(n) for _, n in steps[1:]] for steps in ([], *trainings)])
    if not len(seconds):
        return Metric(
            name=EXAMPLES_PER_SECOND,
            value=whole,
            unit="examples/s",
            samples=1,
            reason="no interval from a single step: raise --games",
        )
    # More blocks would not make the interval more accurate.
    blocks = np.array_split(np.arange(len(seconds)), min(len(seconds), MOST_BLOCKS))
    return rate(
        EXAMPLES_PER_SECOND,
        "examples/s",
        [float(counts[block].sum()) for block in blocks],
        [float(seconds[block].sum()) for block in blocks],
    )
