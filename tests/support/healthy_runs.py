"""Healthy runs: scripted ones within what healthy runs show, and real ones with other noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scripted_runs import CPU_STAGES, Run

from blobdiag.model.names import HOST_CPU
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.model.selfplay import Block, NetworkRate, Throughput
from blobdiag.model.statistics import evaluations_per_second, games_per_minute

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"


def healthy_run(seed: int) -> Run:
    """A run of a machine and a size drawn at random, within what healthy runs show."""
    rng = np.random.default_rng((1, seed))
    command = str(rng.choice(["check-gpu", "compare", "iteration"]))
    seconds = float(rng.uniform(6, 20))
    return (_healthy_cpu if seed % 3 == 0 else _healthy_gpu)(rng, seed, command, seconds)


def _healthy_gpu(rng: np.random.Generator, seed: int, command: str, seconds: float) -> Run:
    cores = int(rng.choice([4, 8, 16, 32, 64]))
    gpus = int(rng.choice([1, 1, 2, 4]))
    workers = gpus * int(rng.integers(1, max(2, min(8, cores // gpus) + 1)))
    if workers > cores:
        workers = gpus = 1
    threads = max(1, int(rng.integers(1, cores // workers + 1)))
    bare = float(rng.uniform(50_000, 1_500_000))
    share = float(rng.uniform(0.45, 0.98))
    mean_batch = float(rng.uniform(600, 6_000))
    wait = float(rng.uniform(0.05, 0.7))
    rest = 1 - wait
    float32 = rng.random() < 0.2
    return Run(
        command=command,
        seed=seed,
        seconds=seconds,
        workers=workers,
        threads=threads,
        gpus=gpus,
        cores=cores,
        cores_total=cores * int(rng.choice([1, 1, 2])),
        utilisation=float(rng.uniform(75, 100)),
        sm_activity=None if rng.random() < 0.3 else float(rng.uniform(30, 85)),
        memory_share=float(rng.uniform(0.02, 0.9)),
        rate=share * bare,
        bare={round(mean_batch): bare * float(rng.uniform(0.75, 1.0)), 8_192: bare},
        mean_batch=mean_batch,
        dtype="float32" if float32 else "bfloat16",
        bfloat16_speedup=float(rng.uniform(0.6, 1.15)) if float32 else None,
        process_percent=100 * threads * float(rng.uniform(0.3, 1.0)),
        host_percent=float(rng.uniform(10, 100)),
        stages={
            "select": 0.4 * rest,
            "expand": 0.35 * rest,
            "copy": 0.15 * rest,
            "network": 0.1 * rest,
            "wait": wait,
        },
        distinct=float(rng.uniform(0.99, 1.0)),
        reuse=float(rng.choice([1, 2, 4, 8])),
        grad_enabled=None if rng.random() < 0.2 else False,
        train_mode=None if rng.random() < 0.2 else False,
    )


def _healthy_cpu(rng: np.random.Generator, seed: int, command: str, seconds: float) -> Run:
    cores = int(rng.choice([1, 2, 4, 8, 16]))
    quota = float(cores) if rng.random() < 0.3 else None
    threads = int(rng.choice([1, 1, 2, 4]))
    workers = max(1, cores // threads)
    threads = min(threads, cores)
    bare = cores * float(rng.uniform(9_000, 24_000))
    mean_batch = float(rng.uniform(60, 250))
    # A busy neighbour takes up to half of the cores.
    left = float(rng.uniform(0.5, 1.0)) if rng.random() < 0.3 else 1.0
    float32 = rng.random() < 0.3
    return Run(
        command=command,
        device="cpu",
        seed=seed,
        seconds=seconds,
        workers=workers,
        threads=threads,
        gpus=1,
        cores=cores,
        cores_total=cores * (4 if quota is not None else 1),
        quota=quota,
        rate=bare * left * float(rng.uniform(0.8, 1.0)),
        bare={round(mean_batch): bare * float(rng.uniform(0.7, 1.0)), 192: bare},
        mean_batch=mean_batch,
        dtype="float32" if float32 else "bfloat16",
        bfloat16_speedup=float(rng.uniform(0.3, 1.15)) if float32 else None,
        process_percent=100 * threads * left * float(rng.uniform(0.93, 1.0)),
        host_percent=float(rng.uniform(95, 100)),
        stages=CPU_STAGES,
        distinct=float(rng.uniform(0.99, 1.0)),
        reuse=float(rng.choice([1, 2, 4, 8])),
    )


def healthy_runs(count: int, first: int = 0) -> Iterator[tuple[str, Report]]:
    """(name, report) of `count` scripted healthy runs, from seed `first` on."""
    for seed in range(first, first + count):
        run = healthy_run(seed)
        yield f"scripted {run.device} {run.command} {seed}", run.report()


def healthy_replays(count: int, first: int = 0) -> Iterator[tuple[str, Report]]:
    """(name, report) of real healthy runs, each replayed with other rates and new noise."""
    real = [(path.stem, read_report(path)) for path in sorted(REFERENCE.glob("*.json"))]
    for seed in range(first, first + count):
        name, report = real[seed % len(real)]
        yield f"replayed {name} {seed}", _replayed(report, np.random.default_rng((2, seed)))


def _replayed(report: Report, rng: np.random.Generator) -> Report:
    speed = float(rng.uniform(0.4, 2.5))
    left = float(rng.uniform(0.5, 1.0))
    noise: dict[str, Callable[[float], float]] = {
        "cpu": lambda v: v * left * rng.normal(1, 0.03),
        "rss": lambda v: v + rng.normal(0, 0.3),
    }
    series = [
        one.model_copy(
            update={
                "values": [
                    v
                    if v is None
                    or (change := noise.get(one.name.rpartition("/")[2])) is None
                    # The host stays as busy as it was: a neighbour takes what a process lost.
                    or one.name == HOST_CPU
                    else max(0.0, change(v))
                    for v in one.values
                ]
            }
        )
        for one in report.series
    ]
    return report.model_copy(
        update={
            "series": series,
            "throughput": [_faster(t, speed, rng) for t in report.throughput],
            "weights_hash": report.workers[0].weights_hash,
            "workers": [
                w.model_copy(
                    update={
                        "deals": [f"{x:016x}" for x in rng.integers(2**32, 2**62, 32)],
                        "grad_enabled": False,
                        "train_mode": False,
                    }
                )
                for w in report.workers
            ],
        }
    )


def _faster(throughput: Throughput, factor: float, rng: np.random.Generator) -> Throughput:
    blocks = [
        Block(
            seconds=b.seconds,
            evaluations=round(b.evaluations * factor * rng.normal(1, 0.02)),
            games=b.games,
        )
        for b in throughput.blocks
    ]
    rate = evaluations_per_second(blocks)
    bare = (rate.value or 1.0) / float(rng.uniform(0.75, 1.0))
    return throughput.model_copy(
        update={
            "blocks": blocks,
            "evaluations_per_second": rate,
            "games_per_minute": games_per_minute(blocks, throughput.games_by_evaluations),
            "bare_network": [
                NetworkRate(rows=round(throughput.mean_batch or 1), evaluations_per_second=bare),
                NetworkRate(rows=192, evaluations_per_second=bare * float(rng.uniform(0.95, 1.3))),
            ],
        }
    )
