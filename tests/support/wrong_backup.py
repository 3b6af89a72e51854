"""A mistake made on purpose: players whose interests differ share the value of a leaf."""

from __future__ import annotations

from torch import Tensor

from engine.game.rules import ACTIONS
from engine.network.blobnet import InferenceNet


class SharedValues(InferenceNet):
    """Gives every seat the value of the mover, so that each ancestor counts the leaf mover's."""

    def forward(self, states: Tensor) -> Tensor:
        answers = super().forward(states)
        answers[:, ACTIONS:] = answers[:, ACTIONS : ACTIONS + 1].clone()
        return answers
