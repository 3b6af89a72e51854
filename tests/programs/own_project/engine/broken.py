"""Engines that fail, each in one way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

not_callable = ["a list"]
SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class Steady:
    """Nothing wrong with it."""

    def __init__(self, device: str) -> None:
        self.device = device

    def play(self) -> Iterator[int]:
        while True:
            time.sleep(0.005)
            yield 1


def no_device() -> Steady:
    return Steady("cpu")


def wants_more(device: str, depth: int) -> Steady:
    return Steady(device)


def refuses(device: str) -> Steady:
    raise ValueError(f"no kernels for {device}")


def leaves(device: str) -> Steady:
    sys.exit("goodbye")


def no_methods(device: str) -> object:
    return object()


class Raises(Steady):
    def play(self) -> Iterator[int]:
        yield 1
        print("one game was fine")
        raise ZeroDivisionError("the fifth move")


class Dies(Steady):
    def play(self) -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(Steady):
    def play(self) -> Iterator[int]:
        yield 1
        os._exit(7)


class Hangs(Steady):
    def play(self) -> Iterator[int]:
        yield 1
        time.sleep(600)


class Text(Steady):
    def play(self) -> Iterator[int]:
        yield "a game"  # type: ignore[misc]


class Nothing(Steady):
    def play(self) -> Iterator[int]:
        return iter(())


class NoIterator(Steady):
    def play(self) -> int:  # type: ignore[override]
        return 5


class Loud(Steady):
    """Megabytes of print: far more than a pipe holds."""

    def play(self) -> Iterator[int]:
        for number in range(2_000):
            print(f"game {number} " + "x" * 2_000)
            yield 1
        raise RuntimeError("enough said")


class Litters(Steady):
    """Leaves children that ignore SIGTERM, one in a session of its own, whose parent is gone."""

    def play(self) -> Iterator[int]:
        subprocess.Popen([sys.executable, "-c", SLEEPER])
        orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])"
        subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
        subprocess.run([sys.executable, "-c", orphan], check=True)
        yield from super().play()


class CannotTrain(Steady):
    def train(self) -> Iterator[int]:
        yield 64
        raise RuntimeError("loss is nan")
