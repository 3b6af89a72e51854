"""How strong a network becomes in equal CPU time, with one thing changed at a time.

    python tests/proof/ablation.py FOLDER --cpu-seconds 150

Every variant, with two seeds, trains from nothing on one core until it has used that much CPU time
(self-play, training and all processes together); the learning rate falls by a cosine over this
time. Then it plays the rules of thumb, a random player and its own policy. As many run at a time as
there are cores. Results stay in FOLDER: what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import hypot
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import psutil
import torch

from engine.matches.evaluation import Evaluation, MatchResult, compile_match_kernels
from engine.matches.players import random_player, raw_player, rule_player, search_player
from engine.network.blobnet import InferenceNet, NetworkConfig, build_network
from engine.network.devices import usable_cores
from engine.search.compilation import compile_kernels
from engine.selfplay.engine import SelfPlayEngine
from engine.training.replay import ReplayBuffer
from engine.training.schedules import cosine
from engine.training.trainer import NetworkTrainer

SEEDS = (0, 1)
BUFFER = 300_000
DEALS = 2000
PLAYED_SHARE = 0.03
"""Of a training's CPU time: what the self-play of one iteration takes, about."""
FIRST_GAMES = 200
FAST = 6
"""Simulations of each deal where a decision is not searched in full."""


class Variant(NamedTuple):
    """What a training is done with; the values are those of the documented command."""

    network: str = "128-1-4-128"
    simulations: int = 30
    c_puct: float = 0.25
    noise: float = 0.25
    reuse: float = 8.0
    learning_rate: float = 3e-3
    full_share: float = 1.0
    """Decisions searched in full; the others with 3 × FAST simulations."""
    exploring: int = 2
    """A player's moves up to this one, its bid being 0, are drawn by their visits."""


VARIANTS = {
    "as documented": Variant(),
    "3 × 8 simulations": Variant(simulations=8),
    "3 × 16 simulations": Variant(simulations=16),
    "3 × 60 simulations": Variant(simulations=60),
    "c_puct 1": Variant(c_puct=1.0),
    "no root noise": Variant(noise=0.0),
    "each example 4 times": Variant(reuse=4.0),
    "each example 16 times": Variant(reuse=16.0),
    "smaller network": Variant(network="64-1-4-128"),
    "two layers": Variant(network="128-2-4-256"),
    "playout cap, 1 of 4 full": Variant(full_share=0.25),
    "bids alone drawn": Variant(exploring=0),
}


def temperature(exploring: int, own_move: int) -> float:
    """1 up to this move of a player's, then 0."""
    return 1.0 if own_move <= exploring else 0.0


def cpu_seconds() -> float:
    """Of this process and its workers."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def trained(variant: Variant, seed: int, budget: float) -> dict[str, Any]:
    """Train for `budget` CPU seconds, then play the matches."""
    torch.set_num_threads(1)
    compile_kernels()
    compile_match_kernels()
    network = build_network(NetworkConfig.parse(variant.network), "cpu", seed)
    engine = SelfPlayEngine(
        network,
        num_workers=1,
        simulations_per_determinization=variant.simulations,
        temperature_schedule=partial(temperature, variant.exploring),
        seed=seed,
    )
    engine.search = engine.search._replace(
        c_puct=variant.c_puct,
        noise_share=variant.noise,
        full_share=variant.full_share,
        fast_simulations=FAST,
    )
    buffer = ReplayBuffer(BUFFER, seed)
    trainer = NetworkTrainer(network, learning_rate=variant.learning_rate, cores=1)
    games, total, iterations = FIRST_GAMES, 0, 0
    with engine, trainer:
        begun = cpu_seconds()

        def done() -> float:
            return (cpu_seconds() - begun) / budget

        while done() < 1:
            before = done()
            played = engine.generate_games(games, first_game=total)
            buffer.add(played.examples)
            total, iterations = total + games, iterations + 1
            steps = max(1, round(played.examples.rows * variant.reuse / trainer.batch_size))
            share = done()
            games = max(1, round(games * PLAYED_SHARE / (share - before)))
            trainer.train(buffer, steps, schedule=lambda _, share=share: cosine(share))
            engine.update_weights(network)
        used = cpu_seconds() - begun
    inference = InferenceNet(network).eval()
    # With the same search for all: it is networks that are compared.
    agent = search_player(inference)
    opponents = {"rules": rule_player(), "random": random_player(), "raw": raw_player(inference)}
    matches = {}
    for name, opponent in opponents.items():
        evaluation = Evaluation(agent, opponent, DEALS, seed=1 + seed)
        evaluation.play()
        result = evaluation.result()
        assert result is not None
        matches[name] = result._asdict()
    return {"games": total, "iterations": iterations, "cpu_seconds": used, "matches": matches}


def run_all(folder: Path, budget: float, names: list[str]) -> None:
    """Run what is missing, one on each core."""
    cores: Queue[int] = Queue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)

    def run(name: str, seed: int) -> None:
        core = cores.get()
        print(f"{name}, seed {seed} …", flush=True)
        command = [sys.executable, __file__, str(folder), "--cpu-seconds", f"{budget:g}"]
        command += ["--one", name, str(seed), str(core)]
        try:
            subprocess.run(command, check=True)
        finally:
            cores.put(core)

    # Seeds in turn, so that an early end leaves variants that can be compared.
    missing = [(n, seed) for seed in SEEDS for n in names if not path(folder, n, seed).exists()]
    with ThreadPoolExecutor(usable_cores()) as pool:
        for done in [pool.submit(run, *one) for one in missing]:
            done.result()


def path(folder: Path, name: str, seed: int) -> Path:
    """Where a run's result is."""
    return folder / f"{name.replace(' ', '-')}-{seed}.json"


def rows(folder: Path) -> Iterator[str]:
    """The table: a line a variant, its seeds side by side and their mean."""
    ahead_of = f"{'ahead of rules, by seed':34}{'mean':>14}  {'ahead of raw':>14}"
    yield f"{'':26}{'CPU s':>8}  {'games':>15}  {ahead_of}"
    for name in VARIANTS:
        found = [p for seed in SEEDS if (p := path(folder, name, seed)).exists()]
        results = [json.loads(p.read_text()) for p in found]
        if results:
            games = ", ".join(f"{result['games']:,}" for result in results)
            cpu = ", ".join(f"{result['cpu_seconds']:.0f}" for result in results)
            rules = [MatchResult(**result["matches"]["rules"]) for result in results]
            raw = [MatchResult(**result["matches"]["raw"]) for result in results]
            each = ", ".join(ahead([one]) for one in rules)
            yield f"{name:26}{cpu:>8}  {games:>15}  {each:34}{ahead(rules):>14}  {ahead(raw):>14}"


def ahead(results: list[MatchResult]) -> str:
    """'-0.64 ± 0.12': the mean difference, and half of its 95 % interval over deals.

    By how much trainings differ that differ in the seed alone is not in it.
    """
    mean = sum(one.difference for one in results) / len(results)
    half = 1.96 * hypot(*(one.standard_error or 0.0 for one in results)) / len(results)
    return f"{mean:+.2f} ± {half:.2f}"


def main() -> int:
    """Run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpu-seconds", type=float, default=150.0, help="of each training")
    parser.add_argument("--only", action="append", choices=VARIANTS, help="repeatable; else all")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        name, seed, core = arguments.one[0], *map(int, arguments.one[1:])
        os.sched_setaffinity(0, {core})
        result = trained(VARIANTS[name], seed, arguments.cpu_seconds)
        there = path(arguments.folder, name, seed)
        begun = there.with_suffix(".part")
        begun.write_text(json.dumps(result, indent=1))
        begun.rename(there)
        return 0
    run_all(arguments.folder, arguments.cpu_seconds, arguments.only or list(VARIANTS))
    print("\n".join(rows(arguments.folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
