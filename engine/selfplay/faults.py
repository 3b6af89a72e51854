"""Injected faults: what each of them changes in a healthy engine.

Every place that a fault changes asks the `Injection`, which answers with the healthy value unless
its own fault is the one for that place.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import count
from time import sleep
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.network.blobnet import BlobNet, InferenceNet, Weights
from engine.network.evaluator import padded
from engine.search.lanes import Batch
from engine.selfplay.worker_messages import ThreadProgress

DEVICE = "device-not-propagated"
TINY_BATCHES = "tiny-batches"
OVERSUBSCRIPTION = "oversubscription"
PHASE_GAP = "phase-gap"
COLLAPSED_SEARCH = "collapsed-search"
SAME_SEED = "same-seed"
STALE_WEIGHTS = "stale-weights"
PRECISION = "precision"
TRAIN_MODE = "train-mode"
NAMES = (
    *(DEVICE, TINY_BATCHES, OVERSUBSCRIPTION, PHASE_GAP, COLLAPSED_SEARCH),
    *(SAME_SEED, STALE_WEIGHTS, PRECISION, TRAIN_MODE),
)

LEAVES = 8
"""Leaves of one tree collected before any is expanded, for a collapsed search."""
STALE_WORKER = 0
"""The worker that plays with stale weights."""
STALE_FACTOR = np.float32(0.9)
"""Stale weights ÷ the weights sent."""


class Injection(NamedTuple):
    """One fault, or none (HEALTHY)."""

    name: str | None = None
    dose: float = 0.0
    """Rows per batch (tiny-batches), torch threads per worker (oversubscription) or seconds
    (phase-gap); without meaning for the other faults."""

    def device(self, asked: str) -> str:
        """The device a worker builds its network on: the CPU where `asked` is not passed on."""
        return "cpu" if self.name == DEVICE else asked

    def lanes(self, healthy: int) -> int:
        """Games in progress of a search thread: no more than a tiny batch has rows."""
        return min(healthy, int(self.dose)) if self.name == TINY_BATCHES else healthy

    def room(self, batch: Batch) -> Batch:
        """The batch, cut to the rows that the network may be sent at once."""
        if self.name != TINY_BATCHES:
            return batch
        rows = int(self.dose)
        computed = padded(rows)
        return Batch(batch.rows[:rows], batch.states[:computed], batch.answers[:computed])

    @property
    def intra_op_threads(self) -> int:
        """The argument of torch.set_num_threads in a worker."""
        return int(self.dose) if self.name == OVERSUBSCRIPTION else 1

    @property
    def leaves(self) -> int:
        """Leaves of a tree collected before any is expanded."""
        return LEAVES if self.name == COLLAPSED_SEARCH else 1

    def renumbering(self) -> Renumbering | None:
        """How a worker renumbers its games; None: it does not."""
        return Renumbering() if self.name == SAME_SEED else None

    def first_weights(self, worker: int, weights: Weights) -> Weights:
        """The weights a worker starts with when the engine sends `weights`."""
        if not self.keeps_weights(worker):
            return weights
        return {name: STALE_FACTOR * array for name, array in weights.items()}

    def keeps_weights(self, worker: int) -> bool:
        """Whether a worker ignores new weights, and the engine accepts that."""
        return self.name == STALE_WEIGHTS and worker == STALE_WORKER

    def inference_form(self, network: BlobNet) -> InferenceNet:
        """The network a worker evaluates positions with."""
        return (TrainModeNet if self.name == TRAIN_MODE else InferenceNet)(network)

    @property
    def needs_gradients(self) -> bool:
        """Whether the network builds an autograd graph, which no CUDA graph can capture."""
        return self.name == TRAIN_MODE

    @property
    def has_gap(self) -> bool:
        return self.name == PHASE_GAP

    def gap(self) -> None:
        """Sleep where there should be no gap."""
        if self.has_gap:
            sleep(self.dose)


HEALTHY = Injection()


class Renumbering:
    """Numbers a worker's games from 0, so that every worker deals the same cards."""

    def __init__(self) -> None:
        self._next = count()
        self._granted: dict[int, int] = {}

    def play_as(self, games: Sequence[int]) -> list[int]:
        """The numbers under which the granted games are played."""
        numbers = [next(self._next) for _ in games]
        self._granted.update(zip(numbers, games, strict=True))
        return numbers

    def as_granted(self, progress: ThreadProgress) -> ThreadProgress:
        """A search thread's message with the numbers that were granted."""
        finished = tuple((self._granted[game], count) for game, count in progress.finished)
        examples = progress.examples
        if examples is not None:
            games = [self._granted[game] for game in examples.game.tolist()]
            examples = examples._replace(game=np.array(games, examples.game.dtype))
        return progress._replace(finished=finished, examples=examples)


class TrainModeNet(InferenceNet):
    """Evaluates with the plain network in train mode, gradients on, as without `.eval()`."""

    def refold(self, network: BlobNet) -> None:
        """Take over the weights of `network`."""
        super().refold(network)
        plain = copy.deepcopy(network).to(self.embedding.weight.dtype)
        self.plain = plain.train().requires_grad_(True)

    def forward(self, states: Tensor) -> Tensor:
        """As InferenceNet.forward, with a useless autograd graph."""
        with torch.inference_mode(False), torch.enable_grad():
            # Cloned: an inference tensor cannot be saved for a backward pass.
            policy, value = self.plain(states.clone())
            return torch.cat([policy, value.sigmoid()], dim=1).detach()
