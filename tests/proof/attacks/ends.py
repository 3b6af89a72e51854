"""Commands that are killed, interrupted or hung up on at any moment: what is left of them?"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import psutil

from attacks.common import Attack

SMALL = (
    *("--device", "cpu", "--network", "32-2-4-64", "--determinizations", "2", "--lanes", "6"),
    *("--dtype", "float32", "--workers", "1", "--simulations", "6"),
)
PROJECT = Path(__file__).resolve().parents[2] / "programs" / "own_project"
ENDLESS = ("--min-seconds", "600")
SLEEPS = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "import torch, time; time.sleep(600)"
)
"""It ends by Ctrl-C without a traceback of its own."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "check-gpu": ("check-gpu", *SMALL, *ENDLESS),
    "compare": ("compare", *SMALL, *ENDLESS),
    "compare --engine": ("compare", "--engine", "engine.random_play:Queues", *ENDLESS),
    "iteration": ("iteration", *SMALL, "--games", "24", "--reuse", "9999"),
    "evaluate": ("evaluate", "rules", "--against", "random", "--deals", "1000000"),
    "tune": ("tune", *SMALL[:-2]),
    "tune --explain": ("tune", "--explain", *SMALL),
    "run": ("run", "--", sys.executable, "-c", SLEEPS),
}
WITHOUT_REPORT = ("tune", "tune --explain")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SPAN_SECONDS = 12.0
"""Moments lie within so many seconds after the first child was seen, most of them early."""
GONE_SECONDS = 3.0
"""Promised is 1 s on a machine that is not overloaded; how long it took is shown."""
PATIENCE_SECONDS = 120.0


def attacks(folder: Path, count: int) -> Iterator[Attack]:
    """A third as many ends as `count`, 100 at most, spread over all commands and signals."""
    rng = random.Random(15)
    for number in range(min(100, max(len(COMMANDS), count // 3))):
        name = list(COMMANDS)[number % len(COMMANDS)]
        end = SIGNALS[number // len(COMMANDS) % len(SIGNALS)]
        yield _attack(folder, number, name, end, SPAN_SECONDS * rng.random() ** 2)


def _attack(folder: Path, number: int, name: str, end: signal.Signals, moment: float) -> Attack:
    """End one command; Ctrl-C and a hang-up reach its whole group, as from a terminal."""
    output = folder / f"{number}.json"
    arguments = list(COMMANDS[name])
    if name not in WITHOUT_REPORT:
        arguments[1:1] = ["--output", str(output)]
    with (
        TemporaryDirectory(dir=folder) as temporary,
        Path(temporary, "errors").open("w+") as errors,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "blobdiag", *arguments],
            cwd=PROJECT if "--engine" in name else folder,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TMPDIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        begun = _wait_for_child(process)
        while monotonic() < begun + moment and process.poll() is None:
            sleep(0.005)
        left = _descendants(process.pid)
        semaphores = _semaphores(left)
        group = end in (signal.SIGINT, signal.SIGHUP)
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(process.pid, end)
        code = process.wait(PATIENCE_SECONDS)
        ended = monotonic()
        if name == "run" and end == signal.SIGKILL:
            left = [p for p in left if SLEEPS not in _command(p)]  # the program is not ours to end
        while (alive := _alive(left)) and monotonic() < ended + GONE_SECONDS:
            sleep(0.01)
        gone = monotonic() - ended
        errors.seek(0)
        text = errors.read()
    wrong = [f"{len(alive)} processes left"] if alive else []
    wrong += ["semaphores left"] if semaphores & set(os.listdir("/dev/shm")) else []
    wrong += ["a traceback"] if "Traceback" in text else []
    wanted = -end if end == signal.SIGKILL else 128 + end
    wrong += [] if code == wanted else [f"exit code {code}"]
    if end != signal.SIGKILL and name not in WITHOUT_REPORT:
        wrong += _missing(output, wanted)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # the program that `run` watched
    return Attack(
        f"{name}, {end.name} after {moment:.1f} s",
        f"exit code {wanted}, nothing left after {GONE_SECONDS:g} s, a report unless killed",
        ", ".join(wrong) or f"so; all gone after {gone:.2f} s",
        not wrong,
    )


def _missing(output: Path, wanted: int) -> list[str]:
    if not output.exists():
        return ["no report"]
    code = json.loads(output.read_text())["exit_code"]
    return [] if code == wanted else [f"exit code {code} in the report"]


def _wait_for_child(process: subprocess.Popen[bytes]) -> float:
    """The moment at which it has a process of its own: from there on something can be left."""
    while process.poll() is None and not _descendants(process.pid):
        sleep(0.005)
    return monotonic()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _semaphores(processes: list[psutil.Process]) -> set[str]:
    """Names in /dev/shm of those that these processes use."""
    found: set[str] = set()
    for process in processes:
        with suppress(OSError):
            text = Path(f"/proc/{process.pid}/maps").read_text()
            found |= set(re.findall(r"/dev/shm/(sem\.mp-\w+)", text))
    return found
