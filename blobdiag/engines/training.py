"""How fast an engine trained, from the moments at which its steps ended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blobdiag.diagnosis.rates import EXAMPLES_PER_SECOND
from blobdiag.diagnosis.statistics import rate
from blobdiag.reporting.model import Metric

MOST_BLOCKS = 200


def training_rate(ends: Sequence[float], examples: Sequence[float], whole: float) -> Metric:
    """Examples per second over the steps, the first left out: it pays for what is made once.

    `ends` are in monotonic seconds, `examples` those of each step; `whole` is the rate of all of
    the training, which stands where there was only one step.
    """
    seconds = np.diff(ends)
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
    counts = np.asarray(examples[1:], float)
    return rate(
        EXAMPLES_PER_SECOND,
        "examples/s",
        [float(counts[block].sum()) for block in blocks],
        [float(seconds[block].sum()) for block in blocks],
    )
