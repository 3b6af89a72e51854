"""Run folders with flipped bits and wrong types: refused in a line that names the file, or said."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attacks.common import Attack
from blobdiag.model.errors import UserError
from blobdiag.model.iteration_settings import IterationSettings
from blobdiag.targets.builtin.run_folder import training_job

TRAINING = (
    *("iteration", "--device", "cpu", "--network", "32-2-4-64", "--determinizations", "2"),
    *("--simulations", "6", "--dtype", "float32", "--workers", "1", "--lanes", "6"),
    *("--games", "24", "--iterations", "2", "--quiet"),
)
WRONG: tuple[Any, ...] = (None, "x", -1, 1.5, 10**400, 1e308, float("nan"), [], {}, True, "\udcff")


def trained(folder: Path) -> Path:
    """The folder of a small training."""
    run = [sys.executable, "-m", "blobdiag", *TRAINING, "--run-dir", "run"]
    subprocess.run(run, cwd=folder, check=False, capture_output=True, timeout=300)
    if not (folder / "run" / "networks" / "000002.safetensors").exists():
        raise RuntimeError(f"no training ran in {folder}")
    return folder / "run"


def outcome(folder: Path) -> tuple[str, str]:
    """(kind, text) of going on with a run: "refused", "said" with its notes, or "taken"."""
    settings = IterationSettings(
        run_dir=folder, resume=True, iterations=3, given=frozenset({"iterations"})
    )
    try:
        with training_job(settings) as job:
            return ("said", " ".join(job.notes)) if job.notes else ("taken", "")
    except UserError as error:
        text = str(error)
        return ("refused", text) if len(text.splitlines()) == 1 else ("lines", text)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"


def flipped(folder: Path, path: Path, place: int, bit: int) -> tuple[str, str]:
    """What comes of a bit that is not as it was."""
    content = path.read_bytes()
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    path.write_bytes(changed)
    try:
        return outcome(folder)
    finally:
        path.write_bytes(content)


def flips(folder: Path, kind: str, count: int) -> Attack:
    """Bits of one kind of file; half of them in its beginning, where its header is."""
    draw = random.Random(kind)
    paths = sorted(folder.glob(kind))
    seen: Counter[str] = Counter()
    wrong = ""
    for number in range(count):
        path = draw.choice(paths)
        size = path.stat().st_size
        place = draw.randrange(size if number % 2 else min(size, 600))
        came, text = flipped(folder, path, place, draw.randrange(8))
        named = path.name in text
        seen[came if named or came == "taken" else f"{came}, file not named"] += 1
        # run.json is there to be read and edited: it has no checksum, and is held to its types.
        good = named and came in ("refused", "said")
        good |= path.name == "run.json" and came in ("refused", "taken")
        if not good:
            wrong = wrong or f" {path.name} byte {place}: {came} {text[:100]}"
    told = ", ".join(f"{many} {came}" for came, many in seen.most_common()) + wrong
    return Attack(f"{count} flipped bits in {kind}", "refused, the file named", told, not wrong)


def wrong_types(folder: Path, count: int) -> Attack:
    """Values of other types in metrics.jsonl without its checksums."""
    draw, path = random.Random(1), folder / "metrics.jsonl"
    content = path.read_bytes()
    lines = [json.loads(line) for line in content.decode().splitlines()]
    seen: Counter[str] = Counter()
    wrong = ""
    for _ in range(count):
        changed = json.loads(json.dumps(lines))
        line = draw.choice(changed)
        del line["sha256"]
        name, value = draw.choice(sorted(line)), draw.choice(WRONG)
        line[name] = value
        path.write_text("".join(json.dumps(one) + "\n" for one in changed))
        came, text = outcome(folder)
        seen[came] += 1
        fits = came == "taken" or (came in ("refused", "said") and "metrics.jsonl" in text)
        if not fits:
            wrong = wrong or f" {name}={value!r:.30}: {came} {text[:100]}"
    path.write_bytes(content)
    told = ", ".join(f"{many} {came}" for came, many in seen.most_common()) + wrong
    return Attack(
        f"{count} values of metrics.jsonl", "refused, or of the right type", told, not wrong
    )


def replaced(folder: Path, kind: str, make: Callable[[Path], object], what: str) -> Attack:
    """One file that is something else."""
    path = max(folder.glob(kind))
    content = path.read_bytes()
    path.unlink()
    make(path)
    came, text = outcome(folder)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.write_bytes(content)
    ok = came in ("refused", "said") and path.name in text
    return Attack(
        f"{what} as {kind}", "refused or said, the file named", f"{came}: {text[-80:]}", ok
    )


KINDS = ("checkpoints/*", "networks/*", "games/*", "metrics.jsonl", "run.json")


def attacks(folder: Path, count: int) -> Iterator[Attack]:
    """On a training of two iterations; `count` flipped bits over all kinds of files."""
    folder.mkdir(parents=True, exist_ok=True)
    run = trained(folder)
    came, text = outcome(run)
    yield Attack("nothing is changed", "taken", f"{came} {text}", came == "taken")
    for kind in KINDS:
        yield flips(run, kind, max(4, count // len(KINDS)))
    yield wrong_types(run, max(10, count // 5))
    for kind in KINDS:
        yield replaced(run, kind, os.mkfifo, "a pipe")
        yield replaced(run, kind, Path.mkdir, "a folder")
        yield replaced(run, kind, lambda path: path.write_bytes(b""), "an empty file")
    came, text = outcome(run)
    yield Attack("all is as it was", "taken", f"{came} {text}", came == "taken")
