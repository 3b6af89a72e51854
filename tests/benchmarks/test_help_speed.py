"""How long `blobdiag --help` takes, beside the bare import of what draws it; some seconds.

pytest -m slow tests/benchmarks/test_help_speed.py --benchmark-enable -s
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import monotonic

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

RUNS = 20
LIMIT = 1.6
"""Times the bare import."""
BARE = ["-c", "import typer, rich"]
HELP = ["-m", "blobdiag", "--help"]


def seconds(arguments: list[str]) -> float:
    begun = monotonic()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return monotonic() - begun


@pytest.mark.slow
def test_help_takes_little_more_than_its_imports(benchmark: BenchmarkFixture) -> None:
    seconds(BARE), seconds(HELP)  # Compiled and in the page cache, both of them.
    pairs = [(seconds(BARE), seconds(HELP)) for _ in range(RUNS)]
    bare, helped = (median(times) for times in zip(*pairs, strict=True))
    benchmark.extra_info |= {"bare": bare, "help": helped, "ratio": helped / bare}
    benchmark.pedantic(seconds, args=(HELP,), rounds=1)
    print(f"\n--help {helped:.3f} s, bare import {bare:.3f} s: {helped / bare:.2f} times")
    assert helped <= LIMIT * bare
