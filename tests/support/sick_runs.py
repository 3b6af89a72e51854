"""Sick runs: by finding, scripted runs that have its cause, each a healthy one but for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from scripted_runs import CPU, GPU, Run

SICK: dict[str, dict[str, Run]] = {
    "device-not-propagated": {
        "16 workers, all on the CPU": replace(
            GPU, workers=16, threads=1, lost_device=16, utilisation=0.5, process_percent=100.0
        ),
        "one of two workers": replace(GPU, workers=2, lost_device=1),
        "in an iteration": replace(GPU, command="iteration", workers=4, threads=4, lost_device=4),
    },
    "busy-but-starved": {
        "99 % busy with a tenth of the work": replace(
            GPU, utilisation=99.0, rate=60_000.0, sm_activity=8.0
        ),
        "only SM activity tells": replace(GPU, utilisation=97.0, sm_activity=6.0, bare={}),
        "one thread feeds it": replace(GPU, threads=1, utilisation=80.0, rate=150_000.0),
    },
    "tiny-batches": {
        "16 workers, each alone": replace(
            GPU,
            workers=16,
            threads=1,
            utilisation=90.0,
            mean_batch=8.0,
            rate=30_000.0,
            bare={8: 40_000.0, 4_096: 640_000.0},
            process_percent=90.0,
        ),
        "on a GPU, nothing else measured": replace(GPU, mean_batch=12.0, bare={}),
        "four positions on a CPU": replace(
            CPU, mean_batch=4.0, rate=6_000.0, bare={4: 6_500.0, 192: 44_600.0}
        ),
        "an iteration of few games": replace(
            CPU,
            command="iteration",
            mean_batch=15.0,
            rate=16_600.0,
            bare={15: 20_300.0, 192: 46_300.0},
        ),
    },
    "too-many-workers": {
        "60 workers where 32 did better": replace(
            GPU,
            workers=60,
            threads=1,
            utilisation=99.0,
            rate=24.0,
            fewer_workers=(32, 1_260.0),
            mean_batch=30.0,
            bare={},
            process_percent=25.0,
        ),
        "60 workers thrash": replace(
            GPU,
            workers=60,
            threads=1,
            cores=64,
            cores_total=64,
            utilisation=99.0,
            rate=5_000.0,
            mean_batch=30.0,
            bare={30: 20_000.0, 4_096: 300_000.0},
        ),
        "16 contexts, few SMs at work": replace(
            GPU, workers=16, threads=1, utilisation=98.0, sm_activity=7.0, bare={}
        ),
    },
    "gil-bound-threads": {
        "16 threads in Python on a GPU": replace(
            GPU,
            threads=16,
            utilisation=35.0,
            rate=9_000.0,
            process_percent=104.0,
            host_percent=9.0,
            stages={"select": 0.05, "python": 0.35, "wait": 0.6},
        ),
        "4 threads in Python on a CPU": replace(
            CPU,
            workers=1,
            threads=4,
            cores=4,
            cores_total=4,
            process_percent=108.0,
            host_percent=29.0,
            rate=7_000.0,
            stages={"select": 0.1, "network": 0.2, "python": 0.7},
        ),
        "8 threads, stages not reported": replace(
            GPU,
            threads=8,
            utilisation=20.0,
            process_percent=96.0,
            host_percent=8.0,
            rate=9_000.0,
            stages={},
        ),
    },
    "queue-bound-server": {
        "16 workers, batches of 12": replace(
            GPU,
            workers=16,
            threads=1,
            server_rows=12.0,
            mean_batch=12.0,
            utilisation=30.0,
            rate=12_000.0,
            stages={"select": 0.15, "python": 0.1, "wait": 0.75},
        ),
        "8 workers, batches of 10": replace(
            GPU,
            workers=8,
            threads=1,
            server_rows=10.0,
            mean_batch=10.0,
            utilisation=40.0,
            rate=15_000.0,
            stages={"select": 0.4, "wait": 0.6},
        ),
        "4 workers, batches of 13": replace(
            GPU,
            workers=4,
            threads=1,
            server_rows=13.0,
            mean_batch=13.0,
            utilisation=60.0,
            rate=20_000.0,
            stages={"select": 0.1, "wait": 0.9},
        ),
    },
    "cpu-oversubscription": {
        "8 intra-op threads for each of 2 workers": replace(
            CPU,
            intra_op_threads=8,
            rate=25_000.0,
            process_percent=95.0,
            switches_per_s=4_600.0,
        ),
        "the network alone was disturbed too": replace(
            CPU, intra_op_threads=8, rate=25_000.0, bare={192: 26_600.0}, switches_per_s=4_600.0
        ),
        "3 workers on 2 cores": replace(CPU, workers=3, rate=30_000.0),
        "2 intra-op threads": replace(CPU, intra_op_threads=2, rate=20_000.0),
        "32 threads keep 16 cores of a GPU machine": replace(
            GPU, workers=2, threads=16, process_percent=790.0, host_percent=99.0, rate=250_000.0
        ),
    },
    "idle-gap-between-phases": {
        "between self-play and training": replace(GPU, command="iteration", gap_seconds=3.0),
        "inside self-play": replace(GPU, gap_seconds=2.5),
        "between phases on a CPU": replace(CPU, command="iteration", gap_seconds=3.0),
        "inside self-play on a CPU": replace(CPU, gap_seconds=2.5),
    },
    "search-collapsed": {
        "30 leaves a tree, 30 simulations": replace(GPU, distinct=0.03),
        "78 % repeated leaves": replace(CPU, distinct=0.22),
        "in an iteration": replace(CPU, command="iteration", distinct=0.5),
    },
    "same-games": {
        "one seed for all": replace(CPU, same_deals=32),
        "one seed, another order at the end": replace(CPU, same_deals=20),
        "16 workers": replace(GPU, workers=16, threads=1, same_deals=32),
    },
    "stale-weights": {
        "all workers": replace(CPU, command="iteration", stale=2),
        "one of two": replace(CPU, command="iteration", stale=1),
        "on a GPU": replace(GPU, command="iteration", workers=4, threads=4, stale=4),
    },
    "overfitted-by-reuse": {
        "30 minutes of training": replace(GPU, command="iteration", reuse=556.0),
        "20 times": replace(CPU, command="iteration", reuse=20.0),
        "100 times": replace(CPU, command="iteration", reuse=100.0),
    },
    "cores-counted-wrong": {
        "2 cores of 64": replace(CPU, workers=64, cores_total=64, quota=2.0),
        "quota of 3.5 among 8": replace(CPU, workers=8, cores=3, cores_total=8, quota=3.5),
        "intra-op threads of the whole machine": replace(
            CPU, cores_total=32, quota=2.0, intra_op_threads=32
        ),
    },
    "train-mode-in-self-play": {
        "dropout": replace(CPU, train_mode=True),
        "gradients": replace(CPU, grad_enabled=True),
        "both on a GPU": replace(GPU, train_mode=True, grad_enabled=True),
    },
    "memory-grows": {
        "trees are not freed": replace(CPU, leak_mib_per_s=20.0),
        "examples are not freed": replace(CPU, leak_mib_per_s=1.5, seconds=20.0),
        "on a GPU": replace(GPU, leak_mib_per_s=5.0),
    },
    "precision-not-used": {
        "a CPU with AVX512-BF16": replace(CPU, dtype="float32", bfloat16_speedup=1.95),
        "tensor cores": replace(GPU, dtype="float32", bfloat16_speedup=6.0),
        "a little": replace(CPU, dtype="float32", bfloat16_speedup=1.3),
    },
    "transfer-bound": {
        "pageable copies": replace(
            GPU, utilisation=25.0, stages={"select": 0.2, "copy": 0.7, "wait": 0.1}
        ),
        "one position at a time": replace(GPU, stages={"select": 0.05, "copy": 0.95}),
        "half of the time": replace(GPU, stages={"select": 0.3, "copy": 0.5, "wait": 0.2}),
    },
    "near-out-of-memory": {
        "60 contexts": replace(GPU, workers=60, threads=1, cores=64, memory_share=0.97),
        "a training batch too large": replace(GPU, command="iteration", memory_share=0.985),
        "another program's memory": replace(GPU, memory_share=0.96),
    },
}


def sick_runs() -> Iterator[tuple[str, str, Run]]:
    """(finding, name, run) of all scripted runs with a cause."""
    for finding, runs in SICK.items():
        for name, run in runs.items():
            yield finding, name, run
