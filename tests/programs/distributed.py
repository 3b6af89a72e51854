"""Training by several processes under torchrun, over gloo."""

from __future__ import annotations

import small_game
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Trained(nn.Module):
    """The network such that each of its parameters gets a gradient, as gloo waits for them all."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_game.PolicyValueNet()

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        logits, values = self.network(states)
        return logits + 0 * values, values


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    examples = torch.rand(64, small_game.CELLS), torch.arange(64) % small_game.MOVES
    small_game.train(DistributedDataParallel(Trained()), examples, "cpu")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
