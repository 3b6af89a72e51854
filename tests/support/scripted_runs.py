"""Scripted runs: whole reports of runs that need a GPU, or would harm a machine, made from knobs.

Everything is drawn from a seed, so that a proof can count over them and be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

import reports
from blobdiag.diagnosis.idle import idle_gaps
from blobdiag.diagnosis.planning import plan
from blobdiag.model import names
from blobdiag.model.base import Interval, Metric
from blobdiag.model.device import Device
from blobdiag.model.machine import Gpu, Machine
from blobdiag.model.plan import Plan
from blobdiag.model.recorded import Phase, Series
from blobdiag.model.report import Report
from blobdiag.model.selfplay import (
    Block,
    NetworkRate,
    PrecisionProbe,
    Throughput,
    WorkerRecord,
)
from blobdiag.model.statistics import evaluations_per_second, games_per_minute

PARENT = 4_000_000
START_UP_S, WARM_UP_S = 3.0, 4.0
EVALUATIONS_A_GAME = 1_113
CUDA_STAGES = {"select": 0.25, "expand": 0.25, "copy": 0.05, "network": 0.1, "wait": 0.3}
CPU_STAGES = {"select": 0.03, "expand": 0.03, "copy": 0.01, "network": 0.91, "python": 0.02}
NEWEST = "0123abcd"


@dataclass(frozen=True)
class Run:
    """The knobs of a scripted run; by default a healthy one of one GPU's worker."""

    command: str = "check-gpu"
    device: str = "cuda"
    seed: int = 0
    seconds: float = 12.0
    """Of the self-play window, and of training where the command is `iteration`."""
    gap_seconds: float = 0.0
    """Without work between self-play and training, or within self-play."""
    workers: int = 1
    threads: int = 8
    intra_op_threads: int = 1
    gpus: int = 1
    cores: int = 16
    cores_total: int = 16
    quota: float | None = None
    utilisation: float = 93.0
    sm_activity: float | None = 45.0
    memory_share: float = 0.1
    rate: float = 400_000.0
    """Of self-play, evals/s."""
    bare: Mapping[int, float] = field(default_factory=lambda: {3_000: 600_000.0, 4_096: 640_000.0})
    mean_batch: float = 3_000.0
    dtype: str = "bfloat16"
    bfloat16_speedup: float | None = None
    process_percent: float = 600.0
    """CPU of each worker."""
    host_percent: float = 45.0
    stages: Mapping[str, float] = field(default_factory=lambda: CUDA_STAGES)
    switches_per_s: float = 50.0
    """Involuntary ones, of each worker."""
    leak_mib_per_s: float = 0.0
    distinct: float = 1.0
    reuse: float = 4.0
    same_deals: int = 0
    """How many of its 32 deals each worker shares with all others."""
    stale: int = 0
    """Workers with old weights."""
    lost_device: int = 0
    """Workers whose network is on the CPU."""
    train_mode: bool | None = False
    grad_enabled: bool | None = False
    server_rows: float | None = None
    """Mean batch of an inference server that serves all workers; None: there is none."""
    fewer_workers: tuple[int, float] | None = None
    """Another row of the same device: its workers, and its rate in evals/s."""

    @property
    def on_cuda(self) -> bool:
        return Device.of(self.device).on_cuda

    def report(self) -> Report:
        """The report of such a run, with idle gaps, without findings."""
        rng = np.random.default_rng(self.seed)
        report = reports.minimal(
            command=self.command,
            device=self.device,
            seconds=self._end,
            configuration={"plan_games": 10_000, "reuse": self.reuse},
            machine=Machine(
                platform="Linux 6.8",
                cpu="Some CPU",
                cores_usable=self.cores,
                cores_total=self.cores_total,
                cgroup_cpu_quota=self.quota,
                memory_gib=128.0,
            ),
            gpus=self._gpus(),
            gpu_reason=None if self.on_cuda else "no NVIDIA driver is visible here",
            pid=PARENT,
            phases=self._phases(),
            series=list(self._series(rng)),
            workers=self._workers(rng),
            weights_hash=NEWEST,
            weights_version=1,
            throughput=self._throughput(rng),
            metrics=self._metrics(),
        )
        if self.command == "iteration":
            report = report.model_copy(update={"plan": self._plan(report)})
        return with_idle_gaps(report)

    # -- when ---------------------------------------------------------------------------------

    @property
    def _plays(self) -> tuple[float, float]:
        inside = 0.0 if self.command == "iteration" else self.gap_seconds
        return START_UP_S + WARM_UP_S, START_UP_S + WARM_UP_S + self.seconds + inside

    @property
    def _trains(self) -> tuple[float, float] | None:
        if self.command != "iteration":
            return None
        start = self._plays[1] + self.gap_seconds + 0.05
        return start, start + self.seconds

    @property
    def _gap(self) -> tuple[float, float]:
        start, end = self._plays
        begins = end if self.command == "iteration" else (start + end - self.gap_seconds) / 2
        return begins, begins + self.gap_seconds

    @property
    def _end(self) -> float:
        return (self._trains or self._plays)[1] + 0.5

    def _phases(self) -> list[Phase]:
        phases = [
            Phase(name="start-up", start_s=0.0, end_s=START_UP_S, device=self.device),
            Phase(
                name=names.WARM_UP,
                start_s=START_UP_S,
                end_s=self._plays[0] - 0.01,
                device=self.device,
            ),
            Phase(
                name=names.SELF_PLAY,
                start_s=self._plays[0],
                end_s=self._plays[1],
                device=self.device,
            ),
        ]
        if self._trains is not None:
            start, end = self._trains
            phases.append(Phase(name=names.TRAINING, start_s=start, end_s=end))
        return phases

    def _busy(self, time: float) -> bool:
        start, end = self._gap
        return time >= START_UP_S and not (self.gap_seconds and start <= time < end)

    # -- what was sampled ---------------------------------------------------------------------

    def _series(self, rng: np.random.Generator) -> Iterator[Series]:
        fast = np.arange(0.2, self._end, 0.2)
        for gpu in self._gpus():
            name = names.utilization(gpu.uuid)
            yield self._level(rng, name, "%", fast, self.utilisation)
            if self.sm_activity is not None:
                name = names.gpu(gpu.uuid, "sm_activity")
                yield self._level(rng, name, "%", fast, self.sm_activity)
            used = self.memory_share * (gpu.memory_mib or 0.0)
            values = used * np.minimum(1.0, (fast + 1) / (START_UP_S + 1))
            yield _series(names.gpu(gpu.uuid, "memory_used"), "MiB", fast, values)
        host = np.arange(0.4, self._end, 0.4)
        yield self._level(rng, names.HOST_CPU, "%", host, self.host_percent, idle=2.0)
        # On a CPU the parent trains.
        in_training = np.array([self._trains is not None and t > self._trains[0] for t in host])
        works = 0.0 if self.on_cuda else 90.0 * self.cores
        parent = np.where(in_training, works, rng.choice([0.0, 2.5, 5.0], len(host)))
        yield _series(names.process(PARENT, "cpu"), "%", host, parent)
        for worker in range(self._processes):
            pid = PARENT + 1 + worker
            name = names.process(pid, "cpu")
            percent = self._level(rng, name, "%", host, self.process_percent, idle=0.0)
            known = [0.0 if t else v for t, v in zip(in_training, percent.values, strict=True)]
            yield percent.model_copy(update={"values": known})
            slow = np.arange(1.0, self._end, 1.0)
            counted = np.cumsum(rng.poisson(self.switches_per_s, len(slow)))
            name = names.process(pid, "involuntary_switches")
            yield _series(name, "switches", slow, counted)
            settled = 420 + 28 * (1 - np.exp(-(host - START_UP_S).clip(0) / 1.5))
            leaked = self.leak_mib_per_s * (host - START_UP_S).clip(0)
            drift = np.cumsum(rng.exponential(0.02, len(host)))
            yield _series(names.process(pid, "rss"), "MiB", host, settled + leaked + drift)

    def _level(
        self,
        rng: np.random.Generator,
        name: str,
        unit: str,
        times: np.ndarray,
        level: float,
        idle: float = 0.0,
    ) -> Series:
        """A level with noise while the run works, else `idle`."""
        noisy = level * rng.normal(1.0, 0.04, len(times))
        if unit == "%" and level <= 100:
            noisy = noisy.clip(0.5, 100.0)
        values = np.where([self._busy(t) for t in times], noisy, idle)
        return _series(name, unit, times, values)

    # -- what was reported --------------------------------------------------------------------

    @property
    def _processes(self) -> int:
        return self.workers + (self.server_rows is not None)

    def _gpus(self) -> list[Gpu]:
        if not self.on_cuda:
            return []
        return [
            Gpu(uuid=f"GPU-{n}", name="NVIDIA H100 80GB HBM3", nvml_index=n, memory_mib=81_559.0)
            for n in range(self.gpus)
        ]

    def _workers(self, rng: np.random.Generator) -> list[WorkerRecord]:
        shared = [f"{n:016x}" for n in range(self.same_deals)]
        records = [self._worker(number, shared, rng) for number in range(self.workers)]
        if self.server_rows is not None:
            evaluations = round(self.rate * self.seconds)
            server = {
                "serves": True,
                "deals": [],
                "stage_seconds": {"network": 0.2 * self.seconds, "wait": 0.8 * self.seconds},
                "evaluations": evaluations,
                "batches": round(evaluations / self.server_rows),
            }
            records.append(self._worker(self.workers, [], rng).model_copy(update=server))
        return records

    def _worker(self, number: int, shared: list[str], rng: np.random.Generator) -> WorkerRecord:
        evaluations = round(self.rate * self.seconds / self.workers)
        own = [f"{x:016x}" for x in rng.integers(2**32, 2**62, 32 - len(shared))]
        gpu = number % self.gpus
        device = f"cuda:{gpu}" if self.on_cuda else "cpu"
        lost = number < self.lost_device
        return WorkerRecord(
            worker=number,
            pid=PARENT + 1 + number,
            device_asked=device,
            parameter_devices=["cpu" if lost else device],
            output_device="cpu" if lost else device,
            device_uuid=f"GPU-{gpu}" if self.on_cuda and not lost else None,
            dtype=self.dtype,
            threads=self.threads,
            intra_op_threads=self.intra_op_threads,
            weights_hash="00000000" if number < self.stale else NEWEST,
            games=evaluations // EVALUATIONS_A_GAME,
            evaluations=evaluations,
            batches=max(1, round(evaluations / self.mean_batch)),
            stage_seconds={
                stage: share * self.seconds * self.threads for stage, share in self.stages.items()
            },
            grad_enabled=self.grad_enabled,
            train_mode=self.train_mode,
            deals=shared + own,
            weights_version=0 if number < self.stale else 1,
        )

    def _throughput(self, rng: np.random.Generator) -> list[Throughput]:
        row = self._row(rng, self.workers, self.rate)
        if self.fewer_workers is None:
            return [row]
        return [self._row(rng, *self.fewer_workers), row]

    def _row(self, rng: np.random.Generator, workers: int, rate: float) -> Throughput:
        blocks = [
            Block(seconds=1.0, evaluations=round(rate * factor), games=round(rate / 1_113))
            for factor in rng.normal(1.0, 0.02, max(1, round(self.seconds)))
        ]
        played = max(1, round(rate * self.seconds / EVALUATIONS_A_GAME))
        probe = None
        if self.bfloat16_speedup is not None:
            probe = PrecisionProbe(
                bfloat16_speedup=self.bfloat16_speedup,
                policy_difference=2e-4,
                value_difference=3e-3,
                agrees=True,
            )
        return Throughput(
            device=self.device,
            dtype=self.dtype,
            workers=workers,
            threads=self.threads,
            lanes=1_024,
            games_per_minute=games_per_minute(blocks, EVALUATIONS_A_GAME),
            evaluations_per_second=evaluations_per_second(blocks),
            mean_batch=self.mean_batch,
            games=played,
            window_seconds=self.seconds,
            warm_up_seconds=WARM_UP_S,
            blocks=blocks,
            games_by_evaluations={EVALUATIONS_A_GAME: played},
            search_health=reports.health(distinct_share=self.distinct),
            bare_network=[
                NetworkRate(rows=rows, evaluations_per_second=rate)
                for rows, rate in self.bare.items()
            ],
            precision=probe,
        )

    def _metrics(self) -> list[Metric]:
        if self.command != "iteration":
            return []
        seen = Metric(name="each example trained on", value=self.reuse, unit="times")
        return [seen, _examples_per_second(74_115.0 if self.on_cuda else 9_900.0)]

    def _plan(self, report: Report) -> Plan:
        games = report.throughput[-1].games_per_minute
        trained = report.metrics[-1]
        return plan(500, 10_000, self.reuse, games, 15.5, trained, {"weight refresh": 0.2})


def _series(name: str, unit: str, times: np.ndarray, values: np.ndarray) -> Series:
    return Series(name=name, unit=unit, times_s=times.tolist(), values=values.tolist())


def _examples_per_second(rate: float) -> Metric:
    around = Interval(low=0.99 * rate, high=1.01 * rate)
    return Metric(name="examples per second", value=rate, unit="examples/s", interval=around)


def with_idle_gaps(report: Report) -> Report:
    """The report with the gaps that its own series show, as a command would have found them."""
    gaps = idle_gaps(report, [gpu.uuid for gpu in report.gpus])
    return report.model_copy(update={"idle_gaps": gaps})


CPU = Run(
    device="cpu",
    workers=2,
    threads=1,
    cores=2,
    cores_total=2,
    rate=40_000.0,
    bare={128: 43_500.0, 192: 44_600.0},
    mean_batch=128.0,
    process_percent=98.0,
    host_percent=99.0,
    stages=CPU_STAGES,
)
"""A healthy run of two cores; `GPU` is one of a GPU's worker."""
GPU = Run()
