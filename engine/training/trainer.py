"""NetworkTrainer: trains the plain BlobNet on searched decisions.

On the CPU a batch is split into one shard per core, each with a thread and an autograd graph of its
own, and the gradients are added in order. torch's own parallelism, several OpenMP threads per
operation, waits at a barrier after each operation and becomes many times slower as soon as another
process takes one of the cores.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import perf_counter
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine.network.blobnet import BlobNet, Weights, load_weights, weights_of
from engine.network.devices import usable_cores
from engine.network.precision import computes_bfloat16
from engine.search.examples import Examples, empty_examples
from engine.training.replay import ReplayBuffer

PROBE_STEPS = 2
WEIGHTS = "network/"
"""Prefix of the weights' names in a trainer's state."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state of each parameter."""


class StepLoss(NamedTuple):
    """Mean losses of one batch, nats."""

    policy: float
    value: float

    @property
    def total(self) -> float:
        return self.policy + self.value


class NotFinite(FloatingPointError):
    """A loss, or the gradients' norm, is infinite or NaN; the weights are unchanged."""

    def __init__(self, step: int, what: str, batch: Examples) -> None:
        super().__init__(f"{what} is not finite at step {step}")
        self.step, self.batch = step, batch


class ShardGradients(NamedTuple):
    """One shard's part of a step."""

    loss: Tensor
    """[2] policy and value loss, weighted with the shard's share."""
    gradients: list[Tensor]
    """Weighted with the shard's share, in the order of the parameters."""


class TrainingResult(NamedTuple):
    """What a call of `NetworkTrainer.train` did."""

    steps: int
    examples: int
    """Examples trained on, repetitions counted."""
    seconds: float
    losses: list[StepLoss]

    @property
    def examples_per_second(self) -> float:
        """0 when no time has passed."""
        return self.examples / self.seconds if self.seconds else 0.0


def fitting_weights(network: BlobNet, arrays: Mapping[str, NDArray[Any]]) -> Weights:
    """The weights in a trainer's state. Raises ValueError if they do not fit `network`."""
    weights = {
        name.removeprefix(WEIGHTS): array
        for name, array in arrays.items()
        if name.startswith(WEIGHTS)
    }
    shapes = {name: tuple(w.shape) for name, w in network.state_dict().items()}
    if {name: array.shape for name, array in weights.items()} != shapes:
        raise ValueError(f"its weights do not fit a network {network.config}")
    for name, array in weights.items():
        _check_numbers(name, array)
    return weights


def check_state(network: BlobNet, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raises ValueError, in one line, unless a trainer of `network` can restore this state."""
    fitting_weights(network, arrays)
    for name, parameter in network.named_parameters():
        names = [f"{entry}/{name}" for entry in MOMENTS]
        found = [one for one in names if one in arrays]
        if found and found != names:
            raise ValueError(f"it lacks a part of the optimiser's state of {name}")
        for one in found:
            shape = () if one.startswith("step/") else tuple(parameter.shape)
            if arrays[one].shape != shape:
                raise ValueError(f"{one} has shape {arrays[one].shape}, not {shape}")
            _check_numbers(one, arrays[one])


def _check_numbers(name: str, array: NDArray[Any]) -> None:
    if array.dtype != np.float32:
        raise ValueError(f"{name} holds {array.dtype}, not float32")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite numbers")


def policy_loss(logits: Tensor, legal: Tensor, policy: Tensor) -> Tensor:
    """Mean cross-entropy, nats, of the visit shares `policy` under the masked policy.

    `logits`, `legal` and `policy` are [B, ACTIONS].
    """
    masked = logits.masked_fill(~legal, float("-inf"))
    log_probabilities = masked.log_softmax(1).masked_fill(~legal, 0.0)
    return -(policy * log_probabilities).sum(1).mean()


def value_loss(logits: Tensor, outcome: Tensor, seats: Tensor) -> Tensor:
    """Mean binary cross-entropy, nats, of `outcome` in [0, 1], over the seats that are players.

    `logits`, `outcome` and `seats` are [B, MAX_PLAYERS].
    """
    losses = F.binary_cross_entropy_with_logits(logits, outcome, reduction="none")
    return (losses * seats).sum() / seats.sum()


class NetworkTrainer:
    """Trains `network` with AdamW and gradient clipping.

    Args:
      network: moved to `device`; left in eval mode after `train`.
      device: cpu, cuda or cuda:N.
      learning_rate, weight_decay: AdamW's; see `train` for a schedule.
      clip_norm: largest norm of a step's gradients.
      batch_size: examples per step.
      dtype: bfloat16 runs the forward pass under autocast; weights stay float32.
      cores: shards on the CPU, by default this process's CPU affinity. Their threads end with
        `close`, or with the `with` block.

    When a batch does not fit into the memory, this and all later batches are computed in two
    halves whose gradients are added, which gives the same step.
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
        """Whether a step is being computed."""
        self.dtype = dtype
        self.parameters = list(network.parameters())
        self.shards = (cores or usable_cores()) if self.device.type == "cpu" else 1
        self.halved = False
        """Whether batches are computed in two halves, because one did not fit into the memory."""
        self.learning_rate = learning_rate
        self._map: Callable[..., Iterable[ShardGradients]] = map
        self._threads = ExitStack()
        if self.shards > 1:
            # torch's thread count is per thread: it is set once in each thread of the pool.
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
        """End the threads, after which `train` fails; no-op the second time."""
        self._threads.close()

    def train(
        self,
        buffer: ReplayBuffer,
        steps: int,
        on_step: Callable[[int, StepLoss], None] | None = None,
        first: int = 0,
        schedule: Callable[[int], float] | None = None,
    ) -> TrainingResult:
        """Take steps `first` to `steps` - 1 on batches drawn from `buffer`.

        Args:
          on_step: called after each step with its number and loss.
          schedule: maps a step's number to its share of the learning rate; by default 1.

        Raises ValueError when the buffer is empty, NotFinite for a loss that is not finite, and
        torch.OutOfMemoryError when half a batch does not fit either.
        """
        losses: list[StepLoss] = []
        start = perf_counter()
        threads = torch.get_num_threads()
        self.network.train().requires_grad_(True)
        if self.shards > 1:
            torch.set_num_threads(1)
        try:
            for step in range(first, steps):
                if schedule is not None:
                    self.set_rate(schedule(step))
                examples = buffer.sample(self.batch_size)
                self.at_work = True
                losses.append(self._step_that_fits(step, examples))
                self.at_work = False
                if on_step is not None:
                    on_step(step, losses[-1])
        finally:
            self.at_work = False
            self.network.eval()
            torch.set_num_threads(threads)
        return TrainingResult(
            steps=len(losses),
            examples=len(losses) * self.batch_size,
            seconds=perf_counter() - start,
            losses=losses,
        )

    def set_rate(self, share: float) -> None:
        """Use this share of the learning rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = share * self.learning_rate

    def _step_that_fits(self, number: int, examples: Examples) -> StepLoss:
        try:
            return self.step(examples, number)
        except torch.OutOfMemoryError:
            if self.halved:
                raise
        # Outside the handler, whose traceback keeps the tensors that filled the memory alive.
        self.halved = True
        self.shards *= 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self.step(examples, number)

    def step(self, examples: Examples, number: int = 0) -> StepLoss:
        """One optimiser step on `examples`. Raises NotFinite, with the step's `number`."""
        shards = [
            Examples._make(column[i :: self.shards] for column in examples)
            for i in range(min(self.shards, examples.rows))
        ]
        shares = [shard.rows / examples.rows for shard in shards]
        parts = list(self._map(self._gradients, shards, shares))
        total = parts[0].gradients
        for part in parts[1:]:
            torch._foreach_add_(total, part.gradients)
        norm = torch.nn.utils.get_total_norm(total)
        # One transfer from the device for all numbers that are checked.
        *losses, length = torch.cat(
            [torch.stack([part.loss for part in parts]).sum(0), norm[None]]
        ).tolist()
        for what, value in (("the loss", sum(losses)), ("the gradients' norm", length)):
            if not np.isfinite(value):
                raise NotFinite(number, what, examples)
        for parameter, gradient in zip(self.parameters, total, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, norm)
        self.optimizer.step()
        return StepLoss(*losses)

    def state(self) -> dict[str, NDArray[Any]]:
        """A copy of the weights and the optimiser's state of each, by name."""
        arrays = {f"{WEIGHTS}{name}": w for name, w in weights_of(self.network).items()}
        for name, parameter in self.network.named_parameters():
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                arrays[f"{moment}/{name}"] = value.detach().cpu().numpy().copy()
        return arrays

    def load_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore, in place, what `state` returned.

        Raises ValueError, in one line, if it is of a network of another shape.
        """
        check_state(self.network, arrays)
        load_weights(self.network, fitting_weights(self.network, arrays))
        moments: dict[int, dict[str, Tensor]] = {}
        for index, (name, _) in enumerate(self.network.named_parameters()):
            for entry in MOMENTS:
                if f"{entry}/{name}" in arrays:
                    value = torch.from_numpy(arrays[f"{entry}/{name}"].copy())
                    moments.setdefault(index, {})[entry] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def _gradients(self, shard: Examples, share: float) -> ShardGradients:
        """Losses and gradients of one shard, weighted with its `share` of the batch."""
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
    """float32 or bfloat16, whichever has the faster training step on `device`.

    Measures steps of the default batch size on copies of `network`. Raises what torch raises when
    the device is not there.
    """
    if not computes_bfloat16(device):
        return "float32"
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
