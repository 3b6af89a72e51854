"""What the built-in engine needs of memory, by its own sizes."""

from __future__ import annotations

from pydantic import Field

from blobdiag.model.base import Model


class MemoryFigures(Model):
    """Sizes of the built-in engine for the run's network and search, as it computes them itself."""

    parameters: int = Field(description="numbers in the plain network, which is trained; float32")
    inference_parameters: int = Field(description="numbers in its inference form")
    folding_bytes: int = Field(description="float64 scratch while the inference form is computed")
    activation_row_bytes: dict[str, int] = Field(
        description="by dtype: peak per row of a batch in the inference form"
    )
    training_row_bytes: int = Field(
        description="per row of a training batch: kept for the backward pass"
    )
    batch_row_bytes: int = Field(description="per row of a batch, on the host")
    lane_bytes: int = Field(
        description="per game in progress, on the host: its examples so far and its trees"
    )
    trees_per_lane: int
    example_bytes: int = Field(description="per example in the replay buffer, on the host")
    row_multiple: int = Field(description="a batch has a multiple of this many rows")
    full_share: float = Field(description="rows of a batch ÷ trees of its lanes, before rounding")
    groups_per_thread: int = Field(
        description="groups of lanes of a search thread on CUDA, each with a batch of its own"
    )
