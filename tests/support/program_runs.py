"""Runs a program of tests/programs under the real sampler and makes a report of what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

from blobdiag.model.base import Metric, Status
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Block, SearchHealth, Throughput, WorkerRecord
from blobdiag.sampling.machine import machine
from blobdiag.sampling.recorder import Recorder
from blobdiag.sampling.software import software
from blobdiag.sampling.trace import Trace

TESTS = Path(__file__).parents[1]
ONCE = "one window, not cut into blocks"
NO_SEARCH = "the program does not say what its search did"


def run_program(name: str, *arguments: str) -> Report:
    """Run tests/programs/NAME.py to its end; raises RuntimeError, with its stderr, if it fails."""
    trace = Trace()
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "CUDA_VISIBLE_DEVICES": ""}
    with Recorder(trace) as recorder, trace.phase("start-up"):
        process = subprocess.Popen(
            [sys.executable, str(TESTS / "programs" / f"{name}.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            assert process.stdout is not None
            began = process.stdout.readline()
            start = monotonic()
            if began:
                recorder.watch(map(int, json.loads(began)["pids"]))
            output, errors = process.communicate()
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise RuntimeError(f"{name} ended with exit code {process.returncode}:\n{errors}")
    return report_of(json.loads(output.splitlines()[-1]), trace, start, recorder.gpu_reason)


def report_of(said: dict[str, Any], trace: Trace, start: float, gpu_reason: str | None) -> Report:
    """A report of what the program said, and of what the sampler saw from `start` on."""
    device, seconds = said["device"], said["seconds"]
    trace.spans[-1].end = start
    with trace.phase("self-play", device) as span:
        span.start = start
    span.end = start + seconds
    workers = [worker_of(record, device) for record in said["workers"]]
    return Report(
        command="run",
        device=device,
        started_utc="2025-10-25T12:00:00Z",
        seconds=monotonic() - trace.start,
        verdict=Status.INCONCLUSIVE,
        verdict_text="A program of another architecture, to be diagnosed.",
        exit_code=3,
        configuration={"program": said["program"]},
        machine=machine(None),
        gpus=[],
        gpu_reason=gpu_reason,
        software=software(None),
        phases=trace.to_phases(),
        series=trace.to_series(),
        unsupported=trace.unsupported,
        workers=workers,
        throughput=[throughput_of(said, workers)],
    )


def worker_of(record: dict[str, Any], device: str) -> WorkerRecord:
    """What one process said of itself."""
    fields: dict[str, Any] = {
        "device_asked": device,
        "parameter_devices": [device],
        "output_device": device,
        "dtype": "float32",
        "intra_op_threads": 1,
        "weights_hash": "0123abcd",
    }
    return WorkerRecord(**fields | record)


def throughput_of(said: dict[str, Any], workers: list[WorkerRecord]) -> Throughput:
    """Rates of all its processes together; a server's evaluations are its clients' own."""
    players = [worker for worker in workers if not worker.serves]
    computing = [worker for worker in workers if worker.batches]
    games = sum(worker.games for worker in players)
    evaluations = sum(worker.evaluations for worker in players)
    seconds = said["seconds"]
    return Throughput(
        device=said["device"],
        dtype="float32",
        workers=len(workers),
        threads=max(worker.threads for worker in workers),
        lanes=said["lanes"],
        games_per_minute=once("games per minute", 60 * games / seconds, "games/min"),
        evaluations_per_second=once("evaluations per second", evaluations / seconds, "evals/s"),
        mean_batch=sum(w.evaluations for w in computing) / sum(w.batches for w in computing),
        games=games,
        window_seconds=seconds,
        warm_up_seconds=0.0,
        blocks=[Block(seconds=seconds, evaluations=evaluations, games=games)],
        search_health=SearchHealth(
            distinct_share=None,
            deep_share=None,
            mean_kl_nats=None,
            evaluations_per_game=None,
            evaluations_per_decision=None,
            reason=NO_SEARCH,
        ),
    )


def once(name: str, value: float, unit: str) -> Metric:
    return Metric(name=name, value=value, unit=unit, samples=1, reason=ONCE)
