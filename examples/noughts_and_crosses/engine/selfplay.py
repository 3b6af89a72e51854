"""Self-play in worker processes, each with a copy of the network on the device."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import torch
from torch import nn

from engine.game import after, lost, moves

Example = tuple[list[int], int]
"""A board, and the move that was played on it."""


def new_network() -> nn.Module:
    """Boards [B, 9] to logits of the squares [B, 9]."""
    return nn.Sequential(nn.Linear(9, 128), nn.ReLU(), nn.Linear(128, 128), nn.Linear(128, 9))


class Worker:
    """What a worker process keeps: its network."""

    network: nn.Module
    device: str

    @classmethod
    def begin(cls, state: dict[str, torch.Tensor], device: str) -> None:
        torch.set_num_threads(1)
        cls.network, cls.device = new_network(), device
        cls.network.load_state_dict(state)
        cls.network.to(device).eval()  # forget this, and all of them play on the CPU


@torch.inference_mode()
def play_game(seed: int) -> list[Example]:
    """Play one game; its examples."""
    generator = torch.Generator().manual_seed(seed)
    board, examples = [0] * 9, []
    while moves(board) and not lost(board):
        states = torch.tensor([board], dtype=torch.float32, device=Worker.device)
        logits = Worker.network(states)[0].cpu()
        weights = torch.zeros(9)
        weights[moves(board)] = logits[moves(board)].softmax(0)
        square = int(torch.multinomial(weights, 1, generator=generator))
        examples.append((board, square))
        board = after(board, square)
    return examples


class SelfPlay:
    """A pool of workers that play, and a trainer in this process."""

    def __init__(self, device: str, workers: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.device, self.examples, self.seeds = device, list[Example](), iter(range(seed, 1 << 62))
        self.network = new_network().to(device)
        state = {name: weight.cpu() for name, weight in self.network.state_dict().items()}
        spawn = multiprocessing.get_context("spawn")
        self.pool = spawn.Pool(workers, Worker.begin, (state, device))

    def games(self, number: int) -> Iterator[int]:
        """Play so many, and keep their examples; 1 as each is finished."""
        seeds = [next(self.seeds) for _ in range(number)]
        for examples in self.pool.imap_unordered(play_game, seeds):
            self.examples += examples
            yield 1

    def train(self, batch: int = 256) -> Iterator[int]:
        """Once through all examples; the number of them in each step."""
        optimizer = torch.optim.Adam(self.network.parameters())
        for start in range(0, len(self.examples), batch):
            boards, squares = zip(*self.examples[start : start + batch], strict=True)
            states = torch.tensor(boards, dtype=torch.float32, device=self.device)
            loss = nn.functional.cross_entropy(
                self.network(states), torch.tensor(squares, device=self.device)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield len(squares)
        self.examples.clear()
