"""Made-up but plausible parts of a report, for tests that draw, save or judge one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blobdiag.diagnosis.planning import plan
from blobdiag.model import names
from blobdiag.model.base import Interval, Metric, Role, Status
from blobdiag.model.judgement import Check, Finding, Gain, IdleGap, Validity
from blobdiag.model.machine import Gpu, Machine, Software
from blobdiag.model.program import Program
from blobdiag.model.recorded import Event, Phase, Series
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Block, NetworkRate, SearchHealth, Throughput, WorkerRecord
from blobdiag.model.training import TrainedIteration
from blobdiag.sampling.long_trace import LongTrace
from blobdiag.sampling.reduction import activities, cuts
from blobdiag.sampling.trace import Span, Trace
from blobdiag.targets.builtin.matches import match_record
from blobdiag.targets.program.phases import Phases
from engine.matches.evaluation import MatchResult

UUID = "GPU-6a9f1c1e-0000-1111-2222-333344445555"


def worker(number: int = 0, device: str = "cuda:0", **changes: Any) -> WorkerRecord:
    fields: dict[str, Any] = {
        "worker": number,
        "pid": 4_000_001 + number,
        "device_asked": "cuda:0",
        "parameter_devices": [device],
        "output_device": device,
        "dtype": "bfloat16",
        "threads": 1,
        "intra_op_threads": 1,
        "weights_hash": "0123abcd",
        "games": 1_234,
        "evaluations": 1_373_442,
        "batches": 5_366,
    }
    return WorkerRecord(**fields | changes)


def health(**changes: Any) -> SearchHealth:
    fields: dict[str, Any] = {
        "distinct_share": 0.997,
        "deep_share": 0.81,
        "mean_kl_nats": 0.02,
        "evaluations_per_game": 1_113.0,
        "evaluations_per_decision": 73.2,
    }
    return SearchHealth(**fields | changes)


def blocks(rate: float, count: int = 10, spread: float = 0.02) -> list[Block]:
    """One-second blocks around `rate` evals/s, alternately above and below it."""
    return [
        Block(seconds=1.0, evaluations=round(rate * (1 + spread * (-1) ** i)), games=30)
        for i in range(count)
    ]


def throughput(device: str = "cuda:0", rate: float = 40_000.0, **changes: Any) -> Throughput:
    per_minute = rate * 60 / 1_113
    fields: dict[str, Any] = {
        "device": device,
        "dtype": "bfloat16" if device != "cpu" else "float32",
        "workers": 1,
        "threads": 2,
        "lanes": 170,
        "games_per_minute": Metric(
            name="games per minute",
            value=per_minute,
            unit="games/min",
            interval=Interval(low=per_minute * 0.99, high=per_minute * 1.01),
            samples=10,
        ),
        "evaluations_per_second": Metric(
            name="evaluations per second",
            value=rate,
            unit="evals/s",
            interval=Interval(low=rate * 0.99, high=rate * 1.01),
            samples=10,
        ),
        "mean_batch": 255.9,
        "games": 358,
        "window_seconds": 10.2,
        "warm_up_seconds": 2.4,
        "blocks": blocks(rate),
        "games_by_evaluations": {1_100: 179, 1_126: 179},
        "search_health": health(),
    }
    return Throughput(**fields | changes)


def check(
    status: Status = Status.PASS,
    role: Role = Role.DECIDING,
    valid: bool = True,
    name: str = "self-play GPU utilisation",
) -> Check:
    return Check(
        name=name,
        role=role,
        status=status,
        expectation="70 to 100 %",
        observation="mean 83 %",
        evidence=[f"{UUID}: mean 83.1 % of 51 samples"],
        validity=[
            Validity(
                rule="throttling",
                observed="none" if valid else "power cap",
                needed="none",
                ok=valid,
            )
        ],
        source="docs/expectations.md#self-play-gpu",
    )


def trace(
    values: Sequence[float | None],
    spans: Sequence[Span] = (),
    start: float = 100.0,
    step: float = 0.2,
) -> Trace:
    """One GPU's utilisation, sampled every `step` seconds from `start`."""
    made = Trace(start=start, spans=list(spans))
    for i, value in enumerate(values):
        made.add(f"gpu/{UUID}/utilization", "%", start + i * step, value)
    return made


def of_trace(made: Trace, **changes: Any) -> Report:
    """The report of a trace, as it is recorded: its series thinned, its activity reduced first."""
    ends = [span.end for span in made.spans if span.end is not None]
    ends += [samples.times[-1] for samples in made.samples.values() if samples.times]
    end = max(ends, default=made.start)
    uuids = sorted({u for name in made.samples if (u := names.parse(name).gpu) is not None})
    pids = changes.get("other_pids")
    fields: dict[str, Any] = {
        "seconds": end - made.start,
        "phases": made.to_phases(),
        "series": made.to_series(cuts(made, made.to_phases())),
        "activity": activities(made, uuids, pids, end),
        "unsupported": made.unsupported,
    }
    return minimal(**fields | changes)


def of_program(made: LongTrace, phases: Phases, uuids: Sequence[str], end: float) -> Report:
    """The report of a watched program that did nothing but keep these GPUs busy, or idle."""
    made.spans = phases.spans
    return minimal(
        command="run",
        seconds=end,
        gpus=[Gpu(uuid=uuid, name="GPU") for uuid in uuids],
        gpu_reason=None,
        phases=made.to_phases(),
        series=made.to_series(),
        activity=activities(made, uuids, None, end),
        program=Program(
            command="python", exit_code=0, instrumented=True, phases_from=phases.source
        ),
    )


def minimal(**changes: Any) -> Report:
    """The least a report holds: a run on a CPU that came to nothing."""
    fields: dict[str, Any] = {
        "command": "check-gpu",
        "device": "cpu",
        "started_utc": "2025-10-25T12:00:00Z",
        "seconds": 0.4,
        "verdict": Status.INCONCLUSIVE,
        "verdict_text": "Nothing was checked.",
        "exit_code": 3,
        "configuration": {},
        "machine": Machine(
            platform="Linux 6.8", cpu="Some CPU", cores_usable=2, cores_total=8, memory_gib=15.6
        ),
        "gpus": [],
        "gpu_reason": "the NVIDIA driver is not installed",
        "software": Software(
            blobdiag="0.1.0",
            python="3.11.9",
            torch="2.13.0",
            torch_cuda=None,
            numpy="2.3.0",
            numba="0.62.0",
        ),
    }
    return Report(**fields | changes)


def full(**changes: Any) -> Report:
    """Every section filled, with long names and figures that are not known."""
    gpu_rate = throughput().games_per_minute
    trainer = Metric(
        name="examples per second",
        value=74_115.0,
        unit="examples/s",
        interval=Interval(low=73_000, high=75_000),
        samples=10,
    )
    unknown = Metric(name="SM activity", value=None, unit="%", reason="needs Hopper or newer")
    fields: dict[str, Any] = {
        "command": "iteration",
        "device": "cuda:0",
        "seconds": 61.5,
        "verdict": Status.FAIL,
        "verdict_text": "workers on the device: 1 of 16 workers are not on cuda "
        "(expected: all parameters and outputs on cuda).",
        "exit_code": 1,
        "configuration": {"games": 500, "seed": 0, "checkpoint": None, "network": "256-6-8-1024"},
        "gpus": [
            Gpu(uuid=UUID, name="NVIDIA H100 80GB HBM3", nvml_index=0, memory_mib=81_559.0),
        ],
        "gpu_reason": None,
        "phases": [
            Phase(name="start-up", start_s=0.0, end_s=3.2),
            Phase(
                name="self-play",
                start_s=3.2,
                end_s=40.0,
                device="cuda:0",
                metrics=[
                    Metric(name="GPU", value=83.1, unit="%", samples=51),
                    Metric(name="CPU", value=None, unit="%", reason="psutil is not allowed to"),
                ],
            ),
        ],
        "series": [
            Series(
                name=f"gpu/{UUID}/utilization",
                unit="%",
                times_s=[0.0, 0.2],
                values=[0.0, None],
            )
        ],
        "unsupported": {"gpu/0/sm_activity": "NVML: not supported by this GPU"},
        "workers": [worker(0), *(worker(i, "cpu", batches=0) for i in range(1, 3))],
        "throughput": [
            throughput("cpu", 11_800.0),
            throughput(
                "cuda:0",
                search_health=health(mean_kl_nats=None, reason="random weights"),
                bare_network=[NetworkRate(rows=256, evaluations_per_second=61_000.0)],
            ),
        ],
        "metrics": [Metric(name="VRAM", value=3.4, unit="GB", samples=51), unknown],
        "idle_gaps": [IdleGap(device=UUID, start_s=39.5, end_s=41.6, phase="self-play → training")],
        "checks": [
            check(Status.PASS),
            check(Status.FAIL, name="training GPU utilisation"),
            check(Status.INCONCLUSIVE, Role.ADVISORY, name="VRAM"),
            check(Status.NOT_APPLICABLE, name="policy not uniform"),
            check(Status.FAIL, valid=False, name="GPU not starved"),
        ],
        "validity": [
            Validity(rule="steady rate", observed="± 1.2%", needed="within ± 10%", ok=True),
            Validity(
                rule="no busy neighbour", observed="others: 1.9 cores", needed="≤ 0.2", ok=False
            ),
        ],
        "findings": [
            Finding(
                name="device-not-propagated",
                title="2 of 3 workers run their network on the CPU, not on cuda",
                cause="A state dict carries no device.",
                evidence=["worker 1 (pid 4000002): parameters on cpu, bfloat16"],
                remedy="network.to(device) after load_state_dict",
                gain=Gain(
                    minutes_per_iteration=3.2, self_play_factor=1.9, basis="measured in this run"
                ),
            )
        ],
        "plan": plan(500, 10_000, 4.0, gpu_rate, 24.0, trainer, {"start-up": 3.2}),
        "events": [Event(at_s=12.5, kind="warning", text="another process uses the GPU [pid 7]")],
        "seconds_shortest_visible_gap": 0.4,
    }
    return minimal(**fields | changes)


def trained_iteration(number: int, **ahead: tuple[float, float]) -> TrainedIteration:
    """1,000 games, 36 s on two cores; (difference, standard error) of each match."""
    return TrainedIteration(
        iteration=number,
        games=1000,
        determinizations=3,
        simulations=30,
        chunks=1,
        self_play_seconds=30.0,
        evaluations_per_game=1100.0,
        examples=15_000,
        buffer_examples=15_000,
        steps=100,
        training_seconds=6.0,
        learning_rate=1e-3,
        policy_loss=1.2,
        value_loss=None if number == 1 else 0.5,
        weights_hash="",
        weights_ages={0: 1000},
        mean_age=0.0,
        mean_uses=4.0,
        core_seconds=72.0,
        evaluation_seconds=100.0,
        matches=[
            match_record("search 3 × 30", name, MatchResult(201, mean, error, 0.5, 0.4))
            for name, (mean, error) in ahead.items()
        ],
    )
