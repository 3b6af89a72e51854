"""Training by several processes under torchrun, over gloo."""

from __future__ import annotations

import small_game
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    examples = torch.rand(64, small_game.CELLS), torch.arange(64) % small_game.MOVES
    small_game.train(DistributedDataParallel(small_game.PolicyValueNet()), examples, "cpu")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
