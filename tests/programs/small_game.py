"""A network and a game that are just large enough to be played and learned from; imports torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CELLS, MOVES = 32, 8
GAME_LENGTH = 30
STEPS = 30


class PolicyValueNet(nn.Module):
    """[B, CELLS] → logits [B, MOVES] and values [B, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(CELLS, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.policy = nn.Linear(64, MOVES)
        self.value = nn.Linear(64, 1)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(states)
        return self.policy(features), self.value(features)


Examples = tuple[Tensor, Tensor]
"""Positions [B, CELLS] and the moves that were made in them [B], on the CPU."""


def play(network: nn.Module, games: int, device: str) -> Examples:
    """So many games at once, a call a turn."""
    states, played = torch.zeros(games, CELLS), []
    for turn in range(GAME_LENGTH):
        with torch.inference_mode():
            logits, _ = network(states.to(device))
        moves = torch.multinomial(logits.softmax(-1), 1).cpu()
        played.append((states, moves[:, 0]))
        states = states.roll(1, dims=1).scatter(1, moves, turn / GAME_LENGTH)
    return together(played)


def together(examples: Sequence[Examples]) -> Examples:
    """All of them in one."""
    states, moves = zip(*examples, strict=True)
    return torch.cat(states), torch.cat(moves)


def train(network: nn.Module, examples: Examples, device: str) -> None:
    """STEPS steps of one batch, by hand: torch.optim takes longer to import than all of this."""
    states, moves = (part.to(device) for part in examples)
    weights = list(network.parameters())
    network.train()
    for _ in range(STEPS):
        logits, values = network(states)
        loss = nn.functional.cross_entropy(logits, moves) + values.square().mean()
        loss.backward()
        for weight in weights:
            assert weight.grad is not None
            weight.data -= 0.01 * weight.grad
            weight.grad = None
