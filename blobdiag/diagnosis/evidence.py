"""What a saved report says, asked the way the findings ask: arms, windows, means, minutes.

Everything here is read from the report alone, so that it can be judged again without running
anything. What was not measured is None, or an empty list, and never a 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from blobdiag.diagnosis.timeline import LOOK_BACK_S
from blobdiag.model.report import NetworkRate, Report, Series, Throughput, WorkerRecord

SELF_PLAY = "self-play"
TRAINING = "training"

# A mean of fewer samples says nothing: NVML's averaging window is up to a second long.
MIN_SAMPLES = 10

Window = tuple[float, float]


def kind(device: str) -> str:
    """'cuda' of 'cuda:1'."""
    return device.partition(":")[0]


def arms(report: Report) -> list[list[WorkerRecord]]:
    """Workers that computed at the same time: those of one kind of device, lost ones left out.

    The arms of a comparison take turns, and the worker that replaced a lost one is in its place.
    """
    by_kind: dict[str, list[WorkerRecord]] = {}
    for worker in report.workers:
        if worker.state == "finished":
            by_kind.setdefault(kind(worker.device_asked), []).append(worker)
    return list(by_kind.values())


def arm_of(report: Report, throughput: Throughput) -> list[WorkerRecord]:
    """The workers behind a throughput."""
    return next(
        (arm for arm in arms(report) if kind(arm[0].device_asked) == kind(throughput.device)), []
    )


def asked(report: Report) -> Throughput | None:
    """The throughput of the device that was asked for; None where it was not measured."""
    same = [t for t in report.throughput if kind(t.device) == kind(report.device)]
    return same[-1] if same else None


def windows(report: Report, device: str | None = None) -> list[Window]:
    """Self-play's phases, [start, end] in the run's seconds; of one device, or of any."""
    return [
        (phase.start_s, phase.end_s)
        for phase in report.phases
        if phase.name == SELF_PLAY and (device is None or phase.device in (device, None))
    ]


def series(report: Report, name: str) -> Series | None:
    """A sampled metric by its name."""
    return next((one for one in report.series if one.name == name), None)


def samples(report: Report, name: str, within: Sequence[Window]) -> list[tuple[float, float]]:
    """(time, value) of a metric's known samples within the windows, in order."""
    one = series(report, name)
    if one is None:
        return []
    return [
        (time, value)
        for time, value in zip(one.times_s, one.values, strict=True)
        if value is not None and any(start <= time <= end for start, end in within)
    ]


def mean(
    report: Report, names: Sequence[str], within: Sequence[Window], least: int = MIN_SAMPLES
) -> float | None:
    """Mean over all samples of all these metrics; None of fewer than `least`."""
    values = [value for name in names for _, value in samples(report, name, within)]
    return sum(values) / len(values) if len(values) >= least else None


def gpus(report: Report, workers: Sequence[WorkerRecord]) -> list[str]:
    """UUIDs of the GPUs that these workers compute on; of all GPUs where none said so."""
    used = {worker.device_uuid for worker in workers} - {None}
    return [gpu.uuid for gpu in report.gpus if not used or gpu.uuid in used]


def gpu_mean(
    report: Report, throughput: Throughput, metric: str, least: int = MIN_SAMPLES
) -> float | None:
    """Mean of a GPU's metric over the self-play of an arm, the first second of each left out."""
    names = [f"gpu/{uuid}/{metric}" for uuid in gpus(report, arm_of(report, throughput))]
    within = [(start + LOOK_BACK_S, end) for start, end in windows(report, throughput.device)]
    return mean(report, names, within, least)


def gpu_busy(report: Report, throughput: Throughput) -> float | None:
    """Mean utilisation of an arm's GPUs during its self-play, %."""
    return gpu_mean(report, throughput, "utilization")


def bare_rate(report: Report, throughput: Throughput) -> float | None:
    """The best rate of the network alone on an arm's device, evals/s."""
    if throughput.bare_network:
        return max(rate.evaluations_per_second for rate in throughput.bare_network)
    if throughput is not asked(report):
        return None
    return figure_of(report, "bare network")


def bare_share(report: Report, throughput: Throughput) -> float | None:
    """Self-play's evals/s ÷ those of the network alone."""
    achieved, bare = throughput.evaluations_per_second.value, bare_rate(report, throughput)
    return None if achieved is None or not bare else achieved / bare


def rate_at(throughput: Throughput, rows: float) -> NetworkRate | None:
    """The network alone, at the measured batch size nearest to `rows`, by ratio."""
    return min(
        throughput.bare_network, key=lambda rate: abs(log(rate.rows / max(rows, 1))), default=None
    )


def figure_of(report: Report, name: str) -> float | None:
    """A metric's value by its name; None where it is not in the report or not known."""
    return next((metric.value for metric in report.metrics if metric.name == name), None)


def stage_shares(workers: Sequence[WorkerRecord]) -> dict[str, float]:
    """Where the workers' threads spent their time, by stage; time without a game is left out."""
    seconds: dict[str, float] = {}
    for worker in workers:
        for stage, spent in worker.stage_seconds.items():
            if stage != "idle":
                seconds[stage] = seconds.get(stage, 0.0) + spent
    total = sum(seconds.values())
    return {stage: spent / total for stage, spent in seconds.items()} if total > 0 else {}


def computing_threads(workers: Sequence[WorkerRecord]) -> int:
    """Search threads × intra-op threads, summed over the workers that say both."""
    return sum((worker.threads or 0) * (worker.intra_op_threads or 0) for worker in workers)


def term_minutes(report: Report, name: str) -> float | None:
    """A term of the plan, minutes an iteration."""
    terms = report.plan.terms if report.plan else []
    return next((term.minutes for term in terms if term.name == name), None)


def self_play_minutes(report: Report) -> float | None:
    """Minutes of self-play in an iteration: the plan's, else the planned games ÷ the rate."""
    planned = term_minutes(report, SELF_PLAY)
    if planned is not None:
        return planned
    throughput, games = asked(report), report.configuration.get("plan_games")
    rate = throughput.games_per_minute.value if throughput else None
    return games / rate if rate and isinstance(games, int) and games > 0 else None
