"""Self-play in a pool of processes that get the network's state dict, then training in the parent.

As written it has the bug: --device reaches the parent alone. With --fixed the workers get it too.
Where CUDA is asked for and not there, it falls back to the CPU, as many programs do.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import small_game
import torch
from torch import Tensor, multiprocessing


class Task(NamedTuple):
    """What a worker is sent."""

    state_dict: dict[str, Tensor]
    games: int
    at_once: int
    device: str | None
    """None: it was forgotten."""


def play(task: Task) -> small_game.Examples:
    """A worker: so many games with these weights."""
    torch.set_num_threads(1)
    network = small_game.PolicyValueNet()
    network.load_state_dict(task.state_dict)
    if task.device is not None:
        network.to(task.device)
    network.eval()
    rounds = range(0, task.games, task.at_once)
    return small_game.together(
        [small_game.play(network, task.at_once, task.device or "cpu") for _ in rounds]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--start", default="spawn", choices=["spawn", "fork"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--games", type=int, default=40, help="of each worker")
    parser.add_argument("--at-once", type=int, default=1, help="games whose positions are a batch")
    arguments = parser.parse_args()
    device = arguments.device if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    network = small_game.PolicyValueNet().to(device)
    task = Task(
        state_dict={name: weights.cpu() for name, weights in network.state_dict().items()},
        games=arguments.games,
        at_once=arguments.at_once,
        device=device if arguments.fixed else None,
    )
    context = multiprocessing.get_context(arguments.start)
    # All begin together, so that none plays another's games.
    begin = context.Barrier(arguments.workers)
    with context.Pool(arguments.workers, begin.wait) as pool:
        played = pool.map(play, [task] * arguments.workers, chunksize=1)
    examples = small_game.together(played)
    small_game.train(network, examples, device)
    print(f"{len(examples[0])} examples")


if __name__ == "__main__":
    main()
