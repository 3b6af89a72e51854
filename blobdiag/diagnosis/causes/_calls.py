"""Calls of a network and their rows: thresholds and words that several causes share."""

from __future__ import annotations

# Up to so many rows cost as much as hundreds on a GPU: no measurement is needed to call that a
# loss. Sixteen workers that each evaluate alone see batches of 1 to 20.
TINY_ROWS_CUDA = 20.0
# Of a watched program: fewer calls are a trial, or an evaluation, not where its time goes.
MIN_CALLS = 1_000

ONE_CALL = "network(torch.stack(inputs))"
"""Many rows in one call, as code."""
