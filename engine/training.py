"""NetworkTrainer: the plain BlobNet learns from searched decisions."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.network import BlobNet
from engine.replay import Examples, ReplayBuffer


class StepLoss(NamedTuple):
    """Mean losses of one batch, nats."""

    policy: float
    value: float

    @property
    def total(self) -> float:
        return self.policy + self.value


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

    `dtype` bfloat16 runs the forward pass under autocast; weights stay float32.
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
    ) -> None:
        if learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, not {learning_rate}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.network = network.to(device)
        self.device = next(network.parameters()).device
        self.batch_size, self.clip_norm = batch_size, clip_norm
        self.autocast = torch.autocast(
            self.device.type, torch.bfloat16, enabled=dtype == "bfloat16"
        )
        self.optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=learning_rate,
            weight_decay=weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

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
        self.network.train().requires_grad_(True)
        try:
            for step in range(steps):
                losses.append(self.step(buffer.sample(self.batch_size)))
                if on_step is not None:
                    on_step(step, losses[-1])
        finally:
            self.network.eval()
        return TrainingResult(
            steps=steps,
            examples=steps * self.batch_size,
            seconds=perf_counter() - start,
            losses=losses,
        )

    def step(self, examples: Examples) -> StepLoss:
        """One optimiser step on `examples`. Raises FloatingPointError at a non-finite loss."""
        states, legal, policy, outcome, seats = (self._put(column) for column in examples[:5])
        with self.autocast:
            logits, values = self.network(states)
        of_policy = policy_loss(logits.float(), legal, policy)
        of_value = value_loss(values.float(), outcome, seats)
        loss = StepLoss(*torch.stack([of_policy, of_value]).tolist())
        if not np.isfinite(loss.total):
            raise FloatingPointError(f"the loss is not finite: {loss}")
        self.optimizer.zero_grad(set_to_none=True)
        (of_policy + of_value).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        return loss

    def _put(self, column: np.ndarray) -> Tensor:
        return torch.from_numpy(column).to(self.device, non_blocking=True)
