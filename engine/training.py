"""NetworkTrainer: the plain BlobNet learns from searched decisions.

On the CPU a batch is cut into one shard a core, each with a thread and a graph of its own, and
the gradients are added in order. Torch's own way, several OpenMP threads an operation, waits at
a barrier after every one of them and collapses as soon as a neighbour takes one of its cores.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import perf_counter
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.devices import usable_cores
from engine.network import BlobNet
from engine.replay import Examples, ReplayBuffer, empty_examples

PROBE_STEPS = 2


class StepLoss(NamedTuple):
    """Mean losses of one batch, nats."""

    policy: float
    value: float

    @property
    def total(self) -> float:
        return self.policy + self.value


class ShardGradients(NamedTuple):
    """What one shard adds to a step."""

    loss: Tensor
    """[2] policy and value loss, weighted with the shard's share."""
    gradients: list[Tensor]
    """In the order of the parameters."""


class TrainingResult(NamedTuple):
    """What a stretch of training did."""

    steps: int
    examples: int
    """Examples trained on, each time counted."""
    seconds: float
    losses: list[StepLoss]

    @property
    def examples_per_second(self) -> float:
        return self.examples / self.seconds if self.seconds else 0.0


def policy_loss(logits: Tensor, legal: Tensor, policy: Tensor) -> Tensor:
    """Cross-entropy of the search's visits [B, A] under the masked policy; a mean, in nats."""
    masked = logits.masked_fill(~legal, float("-inf"))
    log_probabilities = masked.log_softmax(1).masked_fill(~legal, 0.0)
    return -(policy * log_probabilities).sum(1).mean()


def value_loss(logits: Tensor, outcome: Tensor, seats: Tensor) -> Tensor:
    """Binary cross-entropy of outcomes in [0, 1], over the seats that play; a mean, in nats."""
    losses = F.binary_cross_entropy_with_logits(logits, outcome, reduction="none")
    return (losses * seats).sum() / seats.sum()


class NetworkTrainer:
    """Trains `network`, moved to `device`, with AdamW and gradient clipping.

    `dtype` bfloat16 runs the forward pass under autocast; weights stay float32. `cores` is the
    number of shards on the CPU, by default the process's affinity; their threads end with `close`,
    or with the `with` block.
    Raises ValueError for a learning rate or batch size that is not positive, and what torch
    raises when the device is not there.
    """

    def __init__(
        self,
        network: BlobNet,
        device: str = "cpu",
        *,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        clip_norm: float = 1.0,
        batch_size: int = 512,
        dtype: str = "float32",
        cores: int | None = None,
    ) -> None:
        if learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, not {learning_rate}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.network = network.to(device)
        self.device = next(network.parameters()).device
        self.batch_size, self.clip_norm = batch_size, clip_norm
        self.at_work = False
        """Whether it is in the middle of a step."""
        self.dtype = dtype
        self.parameters = list(network.parameters())
        self.shards = (cores or usable_cores()) if self.device.type == "cpu" else 1
        self._map: Callable[..., Iterable[ShardGradients]] = map
        self._threads = ExitStack()
        if self.shards > 1:
            # torch keeps its thread count per thread: each of the pool's is set once.
            pool = self._threads.enter_context(
                ThreadPoolExecutor(
                    self.shards, "trainer", initializer=torch.set_num_threads, initargs=(1,)
                )
            )
            self._map = pool.map
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=learning_rate,
            weight_decay=weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its threads: it can train no more. Again: nothing."""
        self._threads.close()

    def train(
        self,
        buffer: ReplayBuffer,
        steps: int,
        on_step: Callable[[int, StepLoss], None] | None = None,
    ) -> TrainingResult:
        """Take `steps` steps on batches drawn from `buffer`; leaves the network in eval mode.

        Raises ValueError when the buffer is empty, FloatingPointError at a loss that is not
        finite.
        """
        losses: list[StepLoss] = []
        start = perf_counter()
        threads = torch.get_num_threads()
        self.network.train().requires_grad_(True)
        if self.shards > 1:
            torch.set_num_threads(1)
        try:
            for step in range(steps):
                examples = buffer.sample(self.batch_size)
                self.at_work = True
                losses.append(self.step(examples))
                self.at_work = False
                if on_step is not None:
                    on_step(step, losses[-1])
        finally:
            self.at_work = False
            self.network.eval()
            torch.set_num_threads(threads)
        return TrainingResult(
            steps=steps,
            examples=steps * self.batch_size,
            seconds=perf_counter() - start,
            losses=losses,
        )

    def step(self, examples: Examples) -> StepLoss:
        """One optimiser step on `examples`. Raises FloatingPointError at a non-finite loss."""
        shards = [
            Examples._make(column[i :: self.shards] for column in examples)
            for i in range(min(self.shards, examples.rows))
        ]
        shares = [shard.rows / examples.rows for shard in shards]
        parts = list(self._map(self._gradients, shards, shares))
        loss = StepLoss(*torch.stack([part.loss for part in parts]).sum(0).tolist())
        if not np.isfinite(loss.total):
            raise FloatingPointError(f"the loss is not finite: {loss}")
        total = parts[0].gradients
        for part in parts[1:]:
            torch._foreach_add_(total, part.gradients)
        for parameter, gradient in zip(self.parameters, total, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        return loss

    def _gradients(self, shard: Examples, share: float) -> ShardGradients:
        """Losses and gradients of one shard, weighted with its share of the batch."""
        states, legal, policy, outcome, seats = (self._put(column) for column in shard[:5])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            logits, values = self.network(states)
        of_policy = policy_loss(logits.float(), legal, policy) * share
        of_value = value_loss(values.float(), outcome, seats) * share
        gradients = torch.autograd.grad(of_policy + of_value, self.parameters)
        return ShardGradients(torch.stack([of_policy, of_value]).detach(), list(gradients))

    def _put(self, column: np.ndarray) -> Tensor:
        return torch.from_numpy(column).to(self.device, non_blocking=True)


def fastest_dtype(network: BlobNet, device: str, cores: int | None = None) -> str:
    """float32 or bfloat16, whichever takes the shorter step of the default batch on `device`.

    Tries steps of copies on empty examples; `network` is left alone. Raises what torch raises when
    the device is not there.
    """
    seconds = {}
    for dtype in ("float32", "bfloat16"):
        with NetworkTrainer(copy.deepcopy(network), device, dtype=dtype, cores=cores) as trainer:
            examples = empty_examples(trainer.batch_size)
            examples.legal[:], examples.seats[:] = True, True
            buffer = ReplayBuffer(trainer.batch_size)
            buffer.add(examples)
            trainer.train(buffer, 1)
            seconds[dtype] = min(trainer.train(buffer, 1).seconds for _ in range(PROBE_STEPS))
    return min(seconds, key=lambda dtype: seconds[dtype])
