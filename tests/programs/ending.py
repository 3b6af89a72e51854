"""Plays some games in its own process, and ends as its argument says: raise, kill, or normally."""

from __future__ import annotations

import os
import signal
import sys

import small_game
import torch


def main() -> None:
    torch.set_num_threads(1)
    network = small_game.PolicyValueNet().eval()
    for _ in range(20):
        small_game.play(network, 1, "cpu")
    print("played", flush=True)
    match sys.argv[1:]:
        case ["raise"]:
            raise ValueError("no such move")
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
