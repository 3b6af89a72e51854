"""Ten million calls of a tiny network under `blobdiag run`: does the watching stay small?

    python tests/proof/many_calls.py FOLDER --calls 10000000

Prints the memory of blobdiag (its sampler apart) every half minute, and at the end the calls that
the report counted, its size, and what the counting took. Exit code 1 where a call is missing, the
report has more than 5 MB, or blobdiag's memory grew by a tenth after its first minute.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from time import monotonic

import psutil

from blobdiag.model.report_files import read_report

PROGRAM = """
import sys
import torch
network = torch.nn.Linear(4, 2)
torch.set_num_threads(1)
states = torch.zeros(8, 4)
with torch.inference_mode():
    for _ in range(int(sys.argv[1])):
        network(states)
"""
MOST_BYTES = 5_000_000
MOST_GROWTH = 1.1
TELL_SECONDS, FULL_SECONDS = 30.0, 60.0
"""Between two lines; until the series of a run have filled."""


def watched(calls: int, path: Path) -> list[tuple[float, float]]:
    """(seconds, MiB of blobdiag) while it watches the program."""
    program = [sys.executable, "-c", PROGRAM, str(calls)]
    command = [sys.executable, "-m", "blobdiag", "run", "--output", str(path), "--", *program]
    begun, memory = monotonic(), []
    with subprocess.Popen(command) as process:
        us = psutil.Process(process.pid)
        while True:
            try:
                process.wait(TELL_SECONDS)
                return memory
            except subprocess.TimeoutExpired:
                mib = us.memory_info().rss / 2**20
                memory.append((monotonic() - begun, mib))
                print(f"{memory[-1][0]:5.0f} s {mib:6.1f} MiB", flush=True)


def main() -> int:
    """Run it and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calls", type=int, default=10_000_000)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / f"{arguments.calls}.json"
    memory = watched(arguments.calls, path)
    report = read_report(path)
    assert report.program is not None
    counted = sum(kind.calls for one in report.program.processes for kind in one.modules)
    full = [mib for seconds, mib in memory if seconds >= FULL_SECONDS]
    growth = max(full) / full[0] if full else 1.0
    size = path.stat().st_size
    print(f"{counted:,} calls counted in {report.seconds:.0f} s, report {size / 1e6:.2f} MB")
    print(f"memory × {growth:.3f} after the first minute")
    for metric in report.metrics:
        value = "not known" if metric.value is None else f"{metric.value:.2f} {metric.unit}"
        print(f"{metric.name}: {value} ({metric.reason})")
    return int(counted != arguments.calls or size > MOST_BYTES or growth > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
