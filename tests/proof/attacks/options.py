"""Extreme options: a line that says the bound, at once and in little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from attacks.common import Attack

SECONDS = 300
"""Of a command; importing torch is most of it on a busy machine."""
HUGE = "1" + "0" * 30
OPTIONS = (
    ("check-gpu", "--lanes", HUGE),
    ("check-gpu", "--lanes", "1000000"),
    ("check-gpu", "--device", "cpu", "--workers", "1024"),
    ("check-gpu", "--threads", HUGE),
    ("check-gpu", "--threads", "1024", "--simulations", "32000"),
    ("check-gpu", "--seed", HUGE),
    ("check-gpu", "--network", "99999999-1-1-1"),
    ("check-gpu", "--network", "65536-1000-1-65536"),
    ("check-gpu", "--games", HUGE),
    ("check-gpu", "--min-seconds", "1e300"),
    ("check-gpu", "--output", "x" * 300),
    ("iteration", "--schedule", "window=1..999999999", "--device", "cpu"),
    ("iteration", "--games", "999999999", "--device", "cpu"),
    ("evaluate", "random", "--threads", "1024", "--lanes", "1000000"),
    ("run", "--timeout", "1e300", "--", "true"),
    ("tune", "--seconds", "1e300"),
)


def attacks(folder: Path, count: int) -> Iterator[Attack]:
    """Each by the command itself."""
    for arguments in OPTIONS:
        text = " ".join(arguments)[:70]
        begun = perf_counter()
        try:
            ended = subprocess.run(
                [sys.executable, "-m", "blobdiag", *arguments],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            yield Attack(text, "a line and exit code 2", f"goes on after {SECONDS} s", False)
            continue
        last = (ended.stderr.strip().splitlines() or [""])[-1]
        ok = ended.returncode == 2 and last.startswith("blobdiag: ") and len(last) < 320
        seen = f"exit code {ended.returncode} in {perf_counter() - begun:.1f} s: {last[:110]}"
        yield Attack(text, "a line and exit code 2", seen, ok and "Traceback" not in ended.stderr)
