"""Faults on purpose: what each of them does to a healthy engine.

Every place that a fault changes asks the `Injection` here, and gets back what it would have done
anyway where another fault, or none, is injected.
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
from engine.selfplay.telemetry import ThreadProgress

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
"""Leaves of one tree collected before any is expanded, once the search is collapsed."""
STALE_WORKER = 0
"""The one worker that plays with old weights."""
OLD = np.float32(0.9)
"""What the old weights are of the new ones."""


class Injection(NamedTuple):
    """One fault, or none."""

    name: str | None = None
    dose: float = 0.0
    """Rows a batch (tiny-batches), torch's threads a worker (oversubscription), or seconds."""

    def device(self, asked: str) -> str:
        """Where a worker builds its network: torch's default is the bug this project is about."""
        return "cpu" if self.name == DEVICE else asked

    def lanes(self, healthy: int) -> int:
        """Games in progress a search thread: no more than small batches have use for."""
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
        """What torch.set_num_threads is given in a worker."""
        return int(self.dose) if self.name == OVERSUBSCRIPTION else 1

    @property
    def leaves(self) -> int:
        """Leaves of a tree that are collected before any of them is expanded."""
        return LEAVES if self.name == COLLAPSED_SEARCH else 1

    def renumbering(self) -> Renumbering | None:
        """How a worker numbers its games, where that is not the engine's own way."""
        return Renumbering() if self.name == SAME_SEED else None

    def first_weights(self, worker: int, weights: Weights) -> Weights:
        """The weights a worker starts with, when the engine sent it `weights`."""
        if not self.keeps_weights(worker):
            return weights
        return {name: OLD * array for name, array in weights.items()}

    def keeps_weights(self, worker: int) -> bool:
        """Whether a worker takes no new weights, and nobody minds."""
        return self.name == STALE_WEIGHTS and worker == STALE_WORKER

    def inference_form(self, network: BlobNet) -> InferenceNet:
        """What a worker evaluates positions with."""
        return (TrainModeNet if self.name == TRAIN_MODE else InferenceNet)(network)

    @property
    def needs_gradients(self) -> bool:
        """Whether the network keeps a graph for gradients; no CUDA graph then."""
        return self.name == TRAIN_MODE

    @property
    def has_gap(self) -> bool:
        return self.name == PHASE_GAP

    def gap(self) -> None:
        """Stand still, where there should be no gap."""
        if self.has_gap:
            sleep(self.dose)


HEALTHY = Injection()


class Renumbering:
    """A worker's games numbered from 0: their cards are those of every other worker's games."""

    def __init__(self) -> None:
        self._next = count()
        self._granted: dict[int, int] = {}

    def play_as(self, games: Sequence[int]) -> list[int]:
        """The numbers under which the granted games are dealt and played."""
        numbers = [next(self._next) for _ in games]
        self._granted.update(zip(numbers, games, strict=True))
        return numbers

    def as_granted(self, progress: ThreadProgress) -> ThreadProgress:
        """A search thread's message with the numbers that the engine knows."""
        finished = tuple((self._granted[game], count) for game, count in progress.finished)
        examples = progress.examples
        if examples is not None:
            games = [self._granted[game] for game in examples.game.tolist()]
            examples = examples._replace(game=np.array(games, examples.game.dtype))
        return progress._replace(finished=finished, examples=examples)


class TrainModeNet(InferenceNet):
    """Evaluates with the plain network in train mode, gradients on: .eval() was forgotten."""

    def refold(self, network: BlobNet) -> None:
        """Take the weights of `network` again."""
        super().refold(network)
        plain = copy.deepcopy(network).to(self.embedding.weight.dtype)
        self.plain = plain.train().requires_grad_(True)

    def forward(self, states: Tensor) -> Tensor:
        """As InferenceNet.forward, with a graph for gradients that nobody wants."""
        with torch.inference_mode(False), torch.enable_grad():
            # A tensor made in inference mode could not be kept for a backward pass.
            policy, value = self.plain(states.clone())
            return torch.cat([policy, value.sigmoid()], dim=1).detach()
