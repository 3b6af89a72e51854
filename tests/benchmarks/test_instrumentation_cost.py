"""What counting inside a watched program costs it; two minutes.

pytest -m proof tests/benchmarks/test_instrumentation_cost.py --benchmark-enable -s
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from blobdiag.targets.program.environment import environment
from blobdiag.targets.program.inside.site import blobdiag_record
from blobdiag.targets.program.records import read_records

LIMIT = 0.02
"""Of a forward of 3 ms."""

COST = """
import json, sys, torch
from statistics import median
from time import perf_counter
from torch import nn

counted, plain = nn.Module.__call__, nn.Module._wrapped_call_impl
assert counted is not plain
torch.set_num_threads(1)

def layers(width, number):
    modules = [m for _ in range(number) for m in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*modules)

def microseconds(call, calls):
    nn.Module.__call__ = call
    start = perf_counter()
    for _ in range(calls):
        network(rows)
    return 1e6 * (perf_counter() - start) / calls

said = []
for width, number, batch in ((64, 2, 1), (256, 10, 32), (512, 10, 40)):
    network, rows = layers(width, number).eval(), torch.randn(batch, width)
    with torch.no_grad():
        calls = max(1, int(60_000 / min(microseconds(counted, 20) for _ in range(5))))
        turns = [
            [microseconds(call, calls) for call in (plain, counted, plain)] for _ in range(40)
        ]
    forward = median(first for first, _, _ in turns)
    costs = sorted(middle - (first + last) / 2 for first, middle, last in turns)
    same = sorted(last - first for first, _, last in turns)
    quarter = len(turns) // 4
    said.append({
        "modules": 2 * number + 1,
        "forward": forward,
        "cost": median(costs),
        "same": median(same),
        "spread": (same[-quarter] - same[quarter]) / 2,
    })
print(json.dumps(said))
"""

TEN_MILLION = """
import json, os, resource, sys, torch
from time import monotonic
from torch import nn

class Tiny(nn.Module):
    def forward(self, x):
        return x

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

network, batches = Tiny(), [torch.ones(rows, 1) for rows in (1, 2, 5, 30)]
made, end, sizes = 0, monotonic() + 45, []
while made < 10_000_000 and monotonic() < end:
    for _ in range(25_000):
        for batch in batches:
            network(batch)
    made += 100_000
    sizes.append(resident())
print(json.dumps([os.getpid(), made, sizes[0], sizes[-1]]))
"""


def said(text: str, folder: Path, every: int = 1) -> Any:
    """The last line of a program that counts into `folder`."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=environment(os.environ, folder, every),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.proof
@pytest.mark.parametrize("every", [1, 16])
def test_cost_of_a_call(benchmark: BenchmarkFixture, tmp_path: Path, every: int) -> None:
    """Slices of 60 ms in turn: not counted, counted, not counted; medians of 40 turns."""
    found = benchmark.pedantic(said, (COST, tmp_path / "records", every), rounds=1)
    print(f"\n1 call in {every} counted\nmodules  forward     cost            A/A, quartiles")
    for row in found:
        share = row["cost"] / row["forward"]
        print(
            f"{row['modules']:7}  {row['forward']:6.0f} µs  {row['cost']:5.2f} µs  {share:5.1%}"
            f"  {row['same']:+6.2f} µs ± {row['spread']:.2f} µs"
        )
    benchmark.extra_info["networks"] = found
    assert found[-1]["cost"] / found[-1]["forward"] < LIMIT


@pytest.mark.proof
def test_ten_million_calls(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Or as many as fit into 45 s: neither the record nor the program's memory grows with them."""
    folder = tmp_path / "records"
    pid, made, first, last = benchmark.pedantic(said, (TEN_MILLION, folder), rounds=1)
    [counts] = read_records(folder).processes
    [calls] = counts.modules
    print(f"\n{made:,} calls; resident memory grew by {(last - first) / 1024:.0f} KiB")
    assert (counts.pid, calls.calls, calls.rows) == (pid, made, made // 4 * 38)
    assert made >= 1_000_000
    assert last - first < 1 << 20
    [record] = folder.iterdir()
    assert record.stat().st_size == blobdiag_record.FILE_BYTES
    assert len(calls.model_dump_json()) < 1000
