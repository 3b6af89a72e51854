"""Rules that evidence must satisfy before its result counts, judged apart from the result.

Each rule holds what was seen and what is needed, as in MLPerf's LoadGen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from blobdiag.diagnosis.checks.common import enough_samples
from blobdiag.diagnosis.facts import (
    Window,
    gpus_in_use,
    measured,
    phases_of,
    pids,
    samples,
    spans,
    total_mean,
)
from blobdiag.diagnosis.gpu_processes import listed, owners
from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.model.clock_reasons import throttle_reasons
from blobdiag.model.device import Device
from blobdiag.model.gpus import find
from blobdiag.model.judgement import Validity
from blobdiag.model.names import SELF_PLAY, TRAINING, WARM_UP
from blobdiag.model.report import Report
from blobdiag.model.selfplay import Throughput

# Half-width of the rate's interval ÷ the rate. Runs of the same code differ by 3 to 4 %.
MOST_SPREAD = 0.1
# Share of the usable cores that other processes may use when the host is full.
MOST_OTHERS = 0.1
HOST_FULL_PERCENT = 90.0

ENOUGH_SAMPLES, STEADY_RATE = "enough samples", "steady rate"
RATE_RULES = (ENOUGH_SAMPLES, STEADY_RATE)
"""Rules that concern only rates and figures computed from rates."""

NO_NEIGHBOUR = "no busy neighbour"
CONSEQUENCES = {
    "window long enough": "measured too briefly",
    "enough games finished": "measured over too few games",
    ENOUGH_SAMPLES: "measured with too few samples of the machine",
    "warm-up excluded": "measured without a warm-up",
    STEADY_RATE: "the rate was not steady",
    "failure of the sampler": "the sampler failed",
    "lost workers": "measured without the workers that were lost",
    NO_NEIGHBOUR: "measured beside a busy neighbour, so rates are too low",
    "throttling": "measured while the GPU was slowed down, so rates are too low",
    "other processes on the GPU": "other processes shared the GPU, so rates are too low",
}
"""By rule: the consequence for the result if the rule is broken."""


def window_rules(
    report: Report, throughput: Throughput, seconds: float, games: int
) -> list[Validity]:
    """Rules for an arm's windows: at least `seconds` and `games`, and no disturbance."""
    within = measured(report, throughput)
    on_gpu = Device.of(throughput.device).on_cuda
    counted = throughput.games_counted
    return window_validity(
        throughput.window_seconds,
        seconds,
        throughput.games,
        games,
        warm_up_seconds=_warm_up(report, throughput, within),
        rate=throughput.games_per_minute if counted else throughput.evaluations_per_second,
        samples=total_mean(report, [names.HOST_CPU], within)[1],
        sampler_death=report.sampler_death,
        lost_workers=[
            worker.worker
            for worker in report.workers
            if worker.state in ("lost", "stalled")
            and Device.of(throughput.device).accepts(Device.of(worker.device_asked))
        ],
        neighbours=neighbours(report, within),
        throttled=_throttled(report, within) if on_gpu else None,
        foreign_processes=_foreign(report, within) if on_gpu else None,
    )


def training_rules(report: Report) -> list[Validity]:
    """Rules for the speed of training: no busy neighbour; empty if the CPU was not sampled."""
    found = neighbours(report, spans(report, TRAINING))
    return [] if found is None else [no_busy_neighbour(found, " in training")]


def by_device(rules: Mapping[str, list[Validity]]) -> list[Validity]:
    """The rules of all devices in one list; their names begin with the device if it has several."""
    return [
        rule if len(rules) == 1 else rule.model_copy(update={"rule": f"{device}: {rule.rule}"})
        for device, of_device in rules.items()
        for rule in of_device
    ]


def warning(rules: Sequence[Validity]) -> str:
    """One sentence with the consequences of the broken rules; empty if all rules hold."""
    consequences = dict.fromkeys(_consequence(rule) for rule in rules if not rule.ok)
    return f"Warning: {'; '.join(consequences)}." if consequences else ""


def _consequence(rule: Validity) -> str:
    name = next((name for name in CONSEQUENCES if name in rule.rule), None)
    where = rule.rule.partition(name)[0] if name else ""
    return f"{where}{CONSEQUENCES.get(name or '', rule.rule)} ({rule.observed})"


def _warm_up(report: Report, throughput: Throughput, within: Sequence[Window]) -> float:
    """Seconds of play before the arm's first window."""
    played = phases_of(report, WARM_UP, SELF_PLAY, device=throughput.device)
    if not within or not played:
        return 0.0
    return within[0][0] - min(phase.start_s for phase in played)


def neighbours(report: Report, within: Sequence[Window]) -> Neighbours | None:
    """CPU use of other processes: the host's minus the run's; None if unknown."""
    host, _ = total_mean(report, [names.HOST_CPU], within)
    if host is None:
        return None
    own = [names.SAMPLER_CPU, *(names.process(pid, "cpu") for pid in pids(report))]
    ours = sum(total_mean(report, [name], within)[0] or 0.0 for name in own)
    others = max(0.0, host / 100 * report.machine.cores_total - ours / 100)
    return Neighbours(others, report.machine.cores_usable, host)


def _throttled(report: Report, within: Sequence[Window]) -> list[str] | None:
    """The driver's reasons for throttling a GPU inside the windows; None: not reported."""
    metrics = {names.gpu(uuid, "clocks_event_reasons") for uuid in gpus_in_use(report)}
    if not metrics & {series.name for series in report.series}:
        return None
    masks = [int(mask) for name in metrics for _, mask in samples(report, name, within)]
    return sorted({reason for mask in masks for reason in throttle_reasons(mask)})


def _foreign(report: Report, within: Sequence[Window]) -> list[str] | None:
    """Processes on the GPUs that do not belong to the run; None if unknown."""
    found: list[str] = []
    for uuid in gpus_in_use(report):
        ours: dict[int, float | None] = dict.fromkeys(report.other_pids)
        ours |= {
            worker.pid: worker.gpu_memory_mib
            for worker in report.workers
            if (gpu := find(worker.device_uuid or "", report.gpus)) and gpu.uuid == uuid
        }
        if report.gpu_memory_mib is not None and report.pid is not None:
            ours[report.pid] = report.gpu_memory_mib
        seen = owners(listed(report, uuid, within), ours)
        if seen.foreign is None:
            return None
        how = " (ours matched by memory)" if seen.by_memory else ""
        found += [f"pid {pid}{how}" for pid in seen.foreign]
    return found


class Neighbours(NamedTuple):
    """CPU use of other processes while a window was measured."""

    cores_used: float
    cores_usable: int
    host_percent: float
    """Utilisation of all cores of the host by all processes, in %."""


def window_validity(
    window_seconds: float,
    needed_seconds: float,
    games: int,
    needed_games: int,
    *,
    warm_up_seconds: float,
    rate: Metric,
    samples: int,
    sampler_death: str | None = None,
    lost_workers: Sequence[int] = (),
    neighbours: Neighbours | None = None,
    throttled: Sequence[str] | None = None,
    foreign_processes: Sequence[str] | None = None,
) -> list[Validity]:
    """The rules for a measuring window.

    `warm_up_seconds` is the time of play before the window, `rate` the window's rate and `samples`
    the number of readings of the machine in it. If `neighbours`, `throttled` (reasons) or
    `foreign_processes` (descriptions) is None (unknown), its rule is left out. The rule for too few
    games estimates the seconds needed.
    """
    rules = [
        Validity(
            rule="window long enough",
            observed=f"{window_seconds:.1f} s",
            needed=f"≥ {needed_seconds:g} s",
            ok=window_seconds >= needed_seconds,
        ),
        Validity(
            rule="enough games finished",
            observed=f"{games} in {window_seconds:.1f} s",
            needed=f"≥ {needed_games}{_time_for(games, needed_games, window_seconds)}",
            ok=games >= needed_games,
        ),
        enough_samples(samples),
        Validity(
            rule="warm-up excluded",
            observed=f"{warm_up_seconds:.1f} s before the window",
            needed="> 0 s",
            ok=warm_up_seconds > 0,
        ),
        _steady(rate),
        _none_seen("failure of the sampler", [sampler_death] if sampler_death else []),
        _none_seen("lost workers", [f"worker {worker}" for worker in lost_workers]),
    ]
    if neighbours is not None:
        rules.append(no_busy_neighbour(neighbours))
    if throttled is not None:
        rules.append(_none_seen("throttling", throttled))
    if foreign_processes is not None:
        rules.append(_none_seen("other processes on the GPU", foreign_processes))
    return rules


def _steady(rate: Metric) -> Validity:
    """The rule that the rate's 95 % interval is narrow; an unknown interval breaks it."""
    observed = f"unknown: {rate.reason}"
    if rate.value and rate.interval is not None:
        spread = (rate.interval.high - rate.interval.low) / (2 * rate.value)
        observed = f"± {spread:.1%}"
    return Validity(
        rule=STEADY_RATE,
        observed=observed,
        needed=f"95 % interval within ± {MOST_SPREAD:.0%}",
        ok=bool(rate.value and rate.interval is not None and spread <= MOST_SPREAD),
    )


def no_busy_neighbour(neighbours: Neighbours, during: str = "") -> Validity:
    """The rule that other processes left the cores free; `during` ends the rule's name."""
    used, cores, host = neighbours
    return Validity(
        rule=f"{NO_NEIGHBOUR}{during}",
        observed=f"other processes used {used:.1f} cores, the host was {host:.0f} % busy",
        needed=f"≤ {MOST_OTHERS * cores:.1f} cores, or a host ≤ {HOST_FULL_PERCENT:g} % busy",
        ok=used <= MOST_OTHERS * cores or host <= HOST_FULL_PERCENT,
    )


def _none_seen(rule: str, seen: Sequence[str]) -> Validity:
    return Validity(rule=rule, observed=", ".join(seen) or "none", needed="none", ok=not seen)


def _time_for(games: int, needed: int, seconds: float) -> str:
    """The estimated seconds for the needed games at the observed rate, plus 20 %."""
    if games >= needed:
        return ""
    if games == 0:
        return "; none finished: measure longer or with fewer simulations"
    return f"; measure about {1.2 * seconds * needed / games:.0f} s"
