"""Results of self-play: workers, throughput, search health."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from blobdiag.model.base import Metric, Model, Stretch


class Hold(Model):
    """A line of Python at which a process's threads were while its device waited for them."""

    phase: str
    where: str = Field(description="file.py:LINE function")
    seconds: float
    share: float = Field(description="share of the process's waiting seconds, 0 to 1")


class WorkerRecord(Model):
    """What one worker process reported of itself, at its handshake and at the end.

    A field that the worker did not report is None, as for another project's engine.
    """

    worker: int
    pid: int
    device_asked: str
    parameter_devices: list[str] = Field(description="every device that holds a parameter")
    output_device: str | None
    device_uuid: str | None = None
    dtype: str | None
    threads: int | None
    intra_op_threads: int | None
    weights_hash: str | None
    state: Literal["finished", "lost", "stalled", "refused"] = "finished"
    games: int | None = 0
    evaluations: int | None = 0
    batches: int | None = 0
    stage_seconds: dict[str, float] = Field(default_factory=dict)
    batch_histogram: dict[int, int] = Field(
        default_factory=dict,
        description="number of batches by rows per batch, rounded up to a power of two",
    )
    serves: bool = Field(
        default=False, description="whether it only evaluates positions of other workers"
    )
    grad_enabled: bool | None = Field(
        default=None, description="torch.is_grad_enabled() inside a network call of self-play"
    )
    train_mode: bool | None = Field(
        default=None, description="the network's .training inside a network call of self-play"
    )
    deals: list[str] = Field(
        default_factory=list,
        description="hashes of the first cards dealt (at most 32 deals); equal cards, equal hash",
    )
    weights_version: int | None = Field(
        default=None, description="number of times this worker's weights were replaced"
    )
    holds: list[Hold] = Field(default_factory=list)
    stacks: str | None = Field(default=None, description="stacks of a stalled worker")
    gpu_memory_mib: float | None = Field(
        default=None, description="peak memory that torch reserved on the worker's device"
    )

    @property
    def mean_batch(self) -> float | None:
        return self.evaluations / self.batches if self.evaluations and self.batches else None


class SearchHealth(Model):
    """Quality of the search: how it used its evaluations."""

    distinct_share: float | None = Field(description="(a) distinct (tree, node) ÷ evaluations")
    deep_share: float | None = Field(description="(b) simulations whose leaf is deeper than 1 move")
    mean_kl_nats: float | None = Field(description="(c) mean KL(visits ‖ uniform)")
    evaluations_per_game: float | None = Field(description="(d) mean over finished games")
    evaluations_per_decision: float | None = Field(description="(d) mean over searched decisions")
    trained_weights: bool = False
    reason: str | None = Field(default=None, description="why any of these is null")


class Block(Model):
    """A slice of the measuring window."""

    seconds: float = Field(gt=0)
    evaluations: int | None = Field(description="None: the engine does not count them")
    games: int


class NetworkRate(Model):
    """Rate of the network alone, without a search, in all workers of a run at once."""

    rows: int = Field(gt=0, description="rows of each batch")
    evaluations_per_second: float = Field(gt=0)


class PrecisionProbe(Model):
    """bfloat16 compared with float32 on this device, whatever dtype was played with."""

    bfloat16_speedup: float = Field(
        gt=0, description="seconds per batch in float32 ÷ seconds per batch in bfloat16"
    )
    policy_difference: float = Field(description="largest difference of a move's probability")
    value_difference: float
    agrees: bool = Field(description="whether both differences are within the tolerance")


class AnswersDifference(Model):
    """Largest differences between two devices' answers to the same positions."""

    policy: float = Field(description="largest difference of a move's probability")
    value: float
    dtype: str = Field(description="dtype of the device's answers; the CPU's are float32")


class Throughput(Model):
    """Self-play speed of one device, over its measuring window."""

    device: str
    dtype: str | None
    workers: int | None
    threads: int | None
    lanes: int | None = Field(description="games in progress at once, all workers together")
    games_per_minute: Metric
    evaluations_per_second: Metric
    mean_batch: float | None
    games: int = Field(description="games that finished inside the window")
    window_seconds: float
    warm_up_seconds: float
    blocks: list[Block]
    windows: list[Stretch] = Field(
        default_factory=list, description="measuring windows; empty: the phases of self-play"
    )
    games_by_evaluations: dict[int, int] = Field(
        default_factory=dict, description="number of finished games by evaluations per game"
    )
    games_counted: bool = Field(
        default=False,
        description="whether games/min counts finished games because the evaluations per game "
        "are unknown",
    )
    search_health: SearchHealth
    bare_network: list[NetworkRate] = Field(default_factory=list)
    precision: PrecisionProbe | None = None
