"""A training run killed at random moments and resumed: does it come to the same weights?

    python tests/proof/kill_resume.py FOLDER --kills 20

A small run (one worker, float32, CPU) is made once without a break. Then, again and again, the same
run is killed with SIGKILL at a random moment between its first game and its end, every other time
in the middle of writing a file, and resumed by a new process. Its weights, the examples of every
chunk, the order in which they were drawn and the record of each iteration must be those of the run
without a break, to the last bit. What is in FOLDER is not run again, so that a long count can go
on where it stopped. A kill takes about ten seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np

from engine.network.blobnet import NetworkConfig, build_network
from engine.selfplay.engine import SelfPlayEngine
from engine.training.checkpoint import Saved, read_arrays
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import Callbacks, TrainingPipeline
from engine.training.replay import ReplayBuffer
from engine.training.run_folder import RunFolder
from engine.training.schedules import Ramp
from engine.training.trainer import NetworkTrainer

NETWORK = NetworkConfig(64, 2, 4, 128)
SETTINGS = TrainingSettings(
    iterations=4,
    games=Ramp(40, 80),
    simulations=Ramp(6, 10),
    window=Ramp(800, 2000),
    chunk_games=16,
    save_seconds=0.05,
)
CAPACITY = 2000
SECONDS = 120
"""More than any of it takes."""
TIMES = {"self_play_seconds", "training_seconds", "core_seconds", "seconds"}
"""What may differ between two runs that are the same."""


def train(path: Path) -> None:
    """Begin the run in a folder, or go on with it: what is killed. Says when it is under way."""
    network = build_network(NETWORK, "cpu", seed=1)
    trainer = NetworkTrainer(network, learning_rate=3e-3, batch_size=128)
    engine = SelfPlayEngine(network, num_workers=1, lanes=12, seed=2)
    with RunFolder(path) as folder:
        pipeline = TrainingPipeline(engine, trainer, ReplayBuffer(CAPACITY, 3), SETTINGS, folder)
        pipeline.resume()
        with engine:
            print("ready", flush=True)
            for _ in pipeline.run(Callbacks()):
                pass


def start(path: Path) -> subprocess.Popen[str]:
    """The run in a process of its own, once it is under way."""
    command = [sys.executable, __file__, "--train", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"the run in {path} ended with {process.wait()} before it began")
    return process


def finish(path: Path) -> float:
    """Let the run in a folder come to its end; the seconds from its first game on."""
    process, begun = start(path), monotonic()
    if process.wait(SECONDS):
        raise RuntimeError(f"the run in {path} ended with {process.returncode}")
    return monotonic() - begun


def kill(path: Path, seconds: float, while_writing: bool) -> str:
    """Kill a new run after so long; what it was in the middle of."""
    process = start(path)
    sleep(seconds)
    while while_writing and process.poll() is None and not any(path.glob("*/*.tmp")):
        pass
    process.kill()
    if process.wait() == 0:
        return "nothing: it had ended"
    left = list(path.rglob("*.tmp"))
    if left:
        return f"writing {left[0].parent.name if left[0].parent != path else left[0].name}"
    newest = RunFolder(path).newest_checkpoint
    if newest is None:
        return "its beginning"
    iteration, step = map(int, newest.stem.split("-"))
    played = sum(f"{iteration:06}-" in chunk.name for chunk in (path / "games").iterdir())
    wanted = -(-SETTINGS.games.at(iteration, SETTINGS.iterations) // (SETTINGS.chunk_games or 1))
    return "training" if step or played >= wanted - 1 else "self-play"


def content(path: Path) -> dict[str, Saved]:
    """All that a finished run left, by file."""
    return {
        file.relative_to(path).as_posix(): read_arrays(file)
        for folder in ("games", "networks")
        for file in sorted((path / folder).iterdir())
    }


def differences(one: Path, other: Path) -> list[str]:
    """Names of what two runs do not have alike."""
    ours, theirs = content(one), content(other)
    found = sorted(ours.keys() ^ theirs.keys())
    for name in ours.keys() & theirs.keys():
        (arrays, about), (others, others_about) = ours[name], theirs[name]
        same = arrays.keys() == others.keys() and timeless(about) == timeless(others_about)
        if not same or any(not np.array_equal(arrays[n], others[n]) for n in arrays):
            found.append(name)
    states = [read_arrays(max((path / "checkpoints").iterdir())) for path in (one, other)]
    if states[0].about["sampler"] != states[1].about["sampler"]:
        found.append("the sampler")
    if any(not np.array_equal(states[0].arrays[n], states[1].arrays[n]) for n in states[0].arrays):
        found.append("the last checkpoint")
    lines = [
        [timeless(json.loads(line)) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for path in (one, other)
    ]
    return found + ["metrics.jsonl"] * (lines[0] != lines[1])


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in TIMES}


def main() -> int:
    """Kill and resume as often as is missing, and count; 1 where anything differed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train is not None:
        train(arguments.train)
        return 0
    folder: Path = arguments.folder
    whole, results = folder / "whole", folder / "kills.json"
    if not results.exists():
        shutil.rmtree(whole, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps({"seconds": finish(whole), "kills": []}))
    state = json.loads(results.read_text())
    while len(state["kills"]) < arguments.kills:
        number = len(state["kills"])
        path = folder / f"killed-{number}"
        shutil.rmtree(path, ignore_errors=True)
        moment = random.uniform(0, state["seconds"])
        during = kill(path, moment, while_writing=bool(number % 2))
        if during.startswith("nothing"):
            continue
        finish(path)
        differing = differences(whole, path)
        state["kills"].append({"second": moment, "during": during, "differing": differing})
        results.write_text(json.dumps(state))
        print(f"{number + 1}: killed after {moment:.2f} s, in {during}: {differing or 'the same'}")
        if not differing:
            shutil.rmtree(path)
    count = Counter(one["during"] for one in state["kills"])
    differing = sum(bool(one["differing"]) for one in state["kills"])
    moments = ", ".join(f"{name} {times}" for name, times in count.most_common())
    print(f"{len(state['kills'])} kills and resumes ({moments}), {differing} with a difference")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
