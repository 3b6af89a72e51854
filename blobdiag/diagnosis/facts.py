"""Facts read from a report: workers, windows, means and shares.

Pure functions of a report, finished or not. A figure that was not measured is None or an empty
list, never 0. Windows are [start, end] in seconds of the run's clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import log

from blobdiag.diagnosis.expectations import Expectation, with_overrides
from blobdiag.diagnosis.gpu_processes import listed
from blobdiag.model import names
from blobdiag.model.activity import LOOK_BACK_S
from blobdiag.model.base import Metric
from blobdiag.model.device import Device
from blobdiag.model.gpus import find
from blobdiag.model.names import SELF_PLAY
from blobdiag.model.recorded import Phase, Series
from blobdiag.model.report import Report
from blobdiag.model.selfplay import NetworkRate, Throughput, WorkerRecord

# Fewer samples make no reliable mean: NVML's averaging window is up to 1 s long.
MIN_SAMPLES = 10
NO_SAMPLE = "no sample fell into the phase"
PERCENT = names.PERCENT

Window = tuple[float, float]


def kind(device: str) -> str:
    """The kind of a device: 'cuda' for 'cuda:1'."""
    return Device.of(device).kind


def expectations(report: Report) -> dict[str, Expectation]:
    """By name, with the run's own `--expect`; what is none, or is none any more, is ignored."""
    overrides = report.configuration.get("expect")
    return with_overrides(filter(_known, overrides.split() if isinstance(overrides, str) else []))


def _known(override: str) -> bool:
    try:
        with_overrides([override])
    except ValueError:
        return False
    return True


def whole_number(report: Report, option: str, otherwise: int) -> int:
    """An integer option of the report's configuration; `otherwise` if it holds no integer."""
    value = report.configuration.get(option)
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def number(report: Report, option: str, otherwise: float) -> float:
    """A numeric option of the report's configuration; `otherwise` if it holds no number."""
    value = report.configuration.get(option)
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and value is not None else otherwise


def unseen(report: Report) -> str | None:
    """Why the search and the network's answers cannot be judged; None if they can."""
    engine = report.configuration.get("engine")
    return f"the search of {engine} is not seen from outside" if engine else None


def pids(report: Report) -> set[int]:
    """PIDs of the measuring process and of all processes of the measured engine."""
    own = set() if report.pid is None else {report.pid}
    return own | {worker.pid for worker in report.workers} | set(report.other_pids)


def gpus_in_use(report: Report) -> list[str]:
    """UUIDs of the GPUs that the workers computed on.

    If no worker reported one: the GPUs on which the driver lists a process of the run, else all.
    """
    said = {worker.device_uuid for worker in report.workers} - {None}
    if said:
        used = [find(uuid, report.gpus) for uuid in said if uuid is not None]
        return [gpu.uuid for gpu in report.gpus if gpu in used]
    own, run = pids(report), [(0.0, report.seconds)]
    ours = [gpu.uuid for gpu in report.gpus if own & listed(report, gpu.uuid, run).keys()]
    return ours or [gpu.uuid for gpu in report.gpus]


def arms(report: Report) -> list[list[WorkerRecord]]:
    """Workers that computed at the same time, one list per kind of device.

    Lost workers are left out: their replacements are in the list. The arms of a comparison take
    turns, so they form separate lists.
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
    """The throughput of the device that was asked for; None if it was not measured."""
    same = [t for t in report.throughput if kind(t.device) == kind(report.device)]
    return same[-1] if same else None


def windows(report: Report, device: str | None = None) -> list[Window]:
    """Windows of the self-play phases, on `device` or on any."""
    return spans(report, SELF_PLAY, device=device)


def spans(report: Report, *phases: str, device: str | None = None) -> list[Window]:
    """Windows of the phases with these names, on `device` or on any."""
    return [(phase.start_s, phase.end_s) for phase in phases_of(report, *phases, device=device)]


def phases_of(report: Report, *wanted: str, device: str | None = None) -> list[Phase]:
    """The phases with these names, on `device` or on any."""
    return [
        phase
        for phase in report.phases
        if phase.name in wanted and (device is None or phase.device in (device, None))
    ]


def measured(report: Report, throughput: Throughput) -> list[Window]:
    """The windows in which a throughput was measured."""
    own = [(window.start_s, window.end_s) for window in throughput.windows]
    return own or windows(report, throughput.device)


def series(report: Report, name: str) -> Series | None:
    """The series with this name; None if it was not sampled."""
    return next((one for one in report.series if one.name == name), None)


def samples(report: Report, name: str, within: Sequence[Window]) -> list[tuple[float, float]]:
    """(seconds, value) of a metric's known values within the windows, in order of time."""
    return [(time, value) for time, value, _ in _weighted(report, name, within)]


def mean(
    report: Report, metrics: Sequence[str], within: Sequence[Window], least: int = MIN_SAMPLES
) -> float | None:
    """Mean over all readings of all these metrics; None for fewer than `least` readings."""
    value, readings = total_mean(report, metrics, within)
    return value if readings >= least else None


def total_mean(
    report: Report, metrics: Sequence[str], within: Sequence[Window]
) -> tuple[float | None, int]:
    """(mean over all readings of all these metrics, number of readings); (None, 0) without any."""
    found = [one for name in metrics for one in _weighted(report, name, within)]
    readings = sum(count for _, _, count in found)
    if not readings:
        return None, 0
    return sum(value * count for _, value, count in found) / readings, readings


def mean_metric(
    report: Report,
    label: str,
    metrics: Sequence[str],
    within: Sequence[Window],
    otherwise: str = NO_SAMPLE,
) -> Metric:
    """Mean over all readings of all these metrics in %, named `label`.

    Without a reading the reason is the driver's, else `otherwise`.
    """
    value, readings = total_mean(report, metrics, within)
    reasons = [report.unsupported[name] for name in metrics if name in report.unsupported]
    return Metric(
        name=label,
        value=value,
        unit=PERCENT,
        samples=readings,
        reason=None if readings else next(iter(reasons), otherwise),
    )


def after_look_back(within: Sequence[Window]) -> list[Window]:
    """The windows without their first second, in which NVML still averages over the time before."""
    return [(start + LOOK_BACK_S, end) for start, end in within]


def _weighted(
    report: Report, name: str, within: Sequence[Window]
) -> list[tuple[float, float, int]]:
    """(seconds, value, readings merged into it) of a metric's known values within the windows."""
    one = series(report, name)
    if one is None:
        return []
    times, values, counts = one.times_s, one.values, one.counts
    inside = {
        index
        for start, end in within
        for index in range(bisect_left(times, start), bisect_right(times, end))
    }
    return [
        (times[index], value, counts[index] if counts else 1)
        for index in sorted(inside)
        if (value := values[index]) is not None
    ]


def gpus(report: Report, workers: Sequence[WorkerRecord]) -> list[str]:
    """UUIDs of the GPUs that these workers compute on; all GPUs if no worker reported one."""
    used = {worker.device_uuid for worker in workers} - {None}
    return [gpu.uuid for gpu in report.gpus if not used or gpu.uuid in used]


def gpu_mean(
    report: Report, throughput: Throughput, metric: str, least: int = MIN_SAMPLES
) -> float | None:
    """Mean of a GPU metric over an arm's self-play phases, without the first second of each."""
    of_arm = [names.gpu(uuid, metric) for uuid in gpus(report, arm_of(report, throughput))]
    return mean(report, of_arm, after_look_back(windows(report, throughput.device)), least)


def gpu_busy(report: Report, throughput: Throughput) -> float | None:
    """Mean utilisation of an arm's GPUs during its self-play, in %."""
    return gpu_mean(report, throughput, "utilization")


def bare_rate(report: Report, throughput: Throughput) -> float | None:
    """The best rate of the network alone on an arm's device, in evals/s; None if not measured."""
    if throughput.bare_network:
        return max(rate.evaluations_per_second for rate in throughput.bare_network)
    if throughput is not asked(report):
        return None
    return figure_of(report, "bare network")


def bare_share(report: Report, throughput: Throughput) -> float | None:
    """Evals/s of self-play ÷ evals/s of the network alone; None if either is unknown."""
    achieved, bare = throughput.evaluations_per_second.value, bare_rate(report, throughput)
    return None if achieved is None or not bare else achieved / bare


def rate_at(throughput: Throughput, rows: float) -> NetworkRate | None:
    """The rate of the network alone at the measured batch size closest to `rows`, by ratio."""
    return min(
        throughput.bare_network, key=lambda rate: abs(log(rate.rows / max(rows, 1))), default=None
    )


def figure_of(report: Report, name: str) -> float | None:
    """The value of the metric with this name; None if the report lacks it or it is unknown."""
    return next((metric.value for metric in report.metrics if metric.name == name), None)


def stage_shares(workers: Sequence[WorkerRecord]) -> dict[str, float]:
    """Share of the workers' thread time by stage, 0 to 1; the stage 'idle' is left out."""
    seconds: dict[str, float] = {}
    for worker in workers:
        for stage, spent in worker.stage_seconds.items():
            if stage != "idle":
                seconds[stage] = seconds.get(stage, 0.0) + spent
    total = sum(seconds.values())
    return {stage: spent / total for stage, spent in seconds.items()} if total > 0 else {}


def computing_threads(workers: Sequence[WorkerRecord]) -> int:
    """Search threads × intra-op threads, summed over the workers that report both."""
    return sum((worker.threads or 0) * (worker.intra_op_threads or 0) for worker in workers)


def term_minutes(report: Report, name: str) -> float | None:
    """Minutes per iteration of a term of the plan; None if the plan has no such term."""
    terms = report.plan.terms if report.plan else []
    return next((term.minutes for term in terms if term.name == name), None)


def self_play_minutes(report: Report) -> float | None:
    """Minutes of self-play per iteration: the plan's term, else the planned games ÷ the rate."""
    planned = term_minutes(report, SELF_PLAY)
    if planned is not None:
        return planned
    throughput, games = asked(report), report.configuration.get("plan_games")
    rate = throughput.games_per_minute.value if throughput else None
    return games / rate if rate and isinstance(games, int) and games > 0 else None


def with_means(report: Report) -> list[Phase]:
    """The phases, each with the mean utilisation of CPU and GPUs in %."""
    used = gpus_in_use(report) if report.program is None else []
    return [_with_means(report, phase, used) for phase in report.phases]


def _with_means(report: Report, phase: Phase, used: Sequence[str]) -> Phase:
    within = [(phase.start_s, phase.end_s)]
    means = [mean_metric(report, "CPU", [names.HOST_CPU], within)]
    if used:
        of_gpus = [names.utilization(uuid) for uuid in used]
        means.insert(0, mean_metric(report, "GPU", of_gpus, after_look_back(within)))
    others = [metric for metric in phase.metrics if metric.name not in ("CPU", "GPU")]
    return phase.model_copy(update={"metrics": [*means, *others]})
