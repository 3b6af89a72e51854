"""This project's engine, as blobdiag measures it: `blobdiag compare --engine measured:make`."""

from collections.abc import Iterator

from engine.selfplay import SelfPlay


class Measured:
    def __init__(self, device: str, workers: int, seed: int) -> None:
        self.engine = SelfPlay(device, workers, seed)

    def play(self) -> Iterator[int]:
        """Each time games finish: how many. When it ends, it is called again."""
        yield from self.engine.games(64)

    def train(self) -> Iterator[int]:
        """Train once, as after an iteration; of each step: how many examples."""
        yield from self.engine.train()

    def close(self) -> None:
        self.engine.pool.terminate()


def make(device: str, workers: int = 2, seed: int = 0) -> Measured:
    return Measured(device, workers, seed)
