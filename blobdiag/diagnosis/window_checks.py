"""Checks that several commands make of an arm's window."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch

from blobdiag.diagnosis import timeline
from blobdiag.diagnosis.checks import advisory, gpu_utilisation, search_health
from blobdiag.diagnosis.evidence import SELF_PLAY, TRAINING, Window
from blobdiag.diagnosis.expectations import with_overrides
from blobdiag.diagnosis.idle import CPU, cpu_idle_gaps, idle_gaps
from blobdiag.diagnosis.verdict import (
    RATE_RULES,
    Neighbours,
    no_busy_neighbour,
    window_validity,
    with_validity,
)
from blobdiag.measure.session import Session
from blobdiag.model.report import Check, IdleGap, Metric, Throughput, Validity
from blobdiag.sampling.host import usable_cores
from blobdiag.sampling.nvidia.nvml import throttle_reasons
from blobdiag.sampling.nvidia.processes import listed, owners
from blobdiag.sampling.nvidia.visible import find
from blobdiag.targets.protocol import Arm
from engine.network.devices import memory_reserved

WARM_UP = "warm-up"


def window_rules(session: Session, arm: Arm, seconds: float, games: int) -> list[Validity]:
    """What an arm's window must satisfy: `seconds` and `games` at least, and no disturbance."""
    on_gpu = arm.device.startswith("cuda")
    return window_validity(
        arm.window_seconds,
        seconds,
        arm.games_finished,
        games,
        warm_up_seconds=_warm_up(session, arm),
        rate=arm.rate,
        samples=len(_during(session, arm.windows, timeline.HOST_CPU)),
        sampler_death=session.recorder.death,
        lost_workers=[w.worker for w in arm.workers() if w.state in ("lost", "stalled")],
        neighbours=_neighbours(session, arm.windows),
        throttled=_throttled(session, arm) if on_gpu else None,
        foreign_processes=_foreign(session, arm) if on_gpu else None,
    )


def validity(rules: Mapping[str, list[Validity]]) -> list[Validity]:
    """The run's rules, by device; they name it where there are several."""
    return [
        rule if len(rules) == 1 else rule.model_copy(update={"rule": f"{device}: {rule.rule}"})
        for device, of_device in rules.items()
        for rule in of_device
    ]


def _warm_up(session: Session, arm: Arm) -> float:
    """Seconds of play before the arm's first window."""
    played = [
        span.start
        for span in session.trace.spans
        if span.name in (WARM_UP, SELF_PLAY) and span.device in (arm.device, None)
    ]
    return arm.windows[0][0] - min(played) if arm.windows and played else 0.0


def training_rules(session: Session) -> list[Validity]:
    """What a training's speed rests on: cores of its own; no rule where it was not sampled."""
    spans = [s for s in session.trace.spans if s.name == TRAINING]
    windows = [(span.start, timeline.end_of(span, session.trace)) for span in spans]
    neighbours = _neighbours(session, windows)
    return [] if neighbours is None else [no_busy_neighbour(neighbours, " in training")]


def _during(session: Session, windows: Sequence[Window], name: str) -> list[float]:
    """A metric's samples within these windows, in monotonic seconds."""
    return [v for start, end in windows for v in session.trace.between(name, start, end)]


def _neighbours(session: Session, windows: Sequence[Window]) -> Neighbours | None:
    """What is left of the host's CPU time when ours is taken off; None where it is not known."""
    host = _during(session, windows, timeline.HOST_CPU)
    if not host:
        return None
    percent = fmean(host)
    ours = fmean(_during(session, windows, "sampler/cpu") or [0.0])
    for pid in session.pids:
        ours += fmean(_during(session, windows, f"process/{pid}/cpu") or [0.0])
    others = max(0.0, percent / 100 * (os.cpu_count() or 1) - ours / 100)
    return Neighbours(others, usable_cores(), percent)


def _throttled(session: Session, arm: Arm) -> list[str] | None:
    """Reasons the driver gave for slowing a GPU inside the windows; None: it gives none."""
    reasons: set[str] = set()
    names = [f"gpu/{uuid}/clocks_event_reasons" for uuid in session.gpu_uuids]
    if not any(name in session.trace.samples for name in names):
        return None
    for name in names:
        for start, end in arm.windows:
            for mask in session.trace.between(name, start, end):
                reasons.update(throttle_reasons(int(mask)))
    return sorted(reasons)


def _foreign(session: Session, arm: Arm) -> list[str] | None:
    """Processes on the GPUs that are not ours; None where that cannot be told."""
    found: list[str] = []
    for uuid in session.gpu_uuids:
        ours: dict[int, float | None] = dict.fromkeys(arm.other_pids)
        ours |= {
            worker.pid: worker.gpu_memory_mib
            for worker in arm.workers()
            if (gpu := find(worker.device_uuid or "", session.recorder.gpus)) and gpu.uuid == uuid
        }
        if torch.cuda.is_initialized():
            ours[session.pid] = memory_reserved(torch.device("cuda"))
        seen = owners(listed(session.trace, uuid, arm.windows), ours)
        if seen.foreign is None:
            return None
        how = " (ours matched by memory)" if seen.by_memory else ""
        found += [f"pid {pid}{how}" for pid in seen.foreign]
    return found


def idle_gaps_of(session: Session, gpu_uuids: list[str]) -> list[IdleGap]:
    """Stretches in which the device had work and did nothing.

    Arms take turns, so that each is only looked at in its own phases; the first second of a turn
    still shows the one before.
    """
    threshold = with_overrides(session.settings.expect)["idle-gap"].high
    spans = [s for s in session.trace.spans if s.name in (SELF_PLAY, TRAINING)]
    if threshold is None or not spans:
        return []
    if session.device == CPU:
        return cpu_idle_gaps(session.trace, session.pids, spans, threshold)
    if not session.device.startswith("cuda"):
        return []
    if len(session.arms) == 1:
        return idle_gaps(session.trace, gpu_uuids, spans, threshold)
    turns = [
        replace(span, start=span.start + timeline.LOOK_BACK_S)
        for span in spans
        if span.device == session.device
    ]
    return [gap for turn in turns for gap in idle_gaps(session.trace, gpu_uuids, [turn], threshold)]


def health_checks(session: Session, throughputs: list[Throughput]) -> list[Check]:
    """Search health of every arm that was measured; the distinct share decides."""
    return search_health(
        throughputs, with_overrides(session.settings.expect), session.engine.unseen
    )


def utilisation(session: Session, phase: str, rules: list[Validity], gpu_uuids: list[str]) -> Check:
    """Mean utilisation of these GPUs over a phase, resting on the window's rules too.

    Not on those of the rate: the phase has rules of its own for its length and its samples.
    """
    check = gpu_utilisation(
        session.trace,
        gpu_uuids if session.device.startswith("cuda") else [],
        phase,
        session.trace.spans,
        with_overrides(session.settings.expect)[f"{phase}-gpu"],
        not_on_gpu(session),
    )
    return with_validity(check, [rule for rule in rules if rule.rule not in RATE_RULES])


def not_on_gpu(session: Session) -> str | None:
    """Why checks of the GPU do not apply; None when they do."""
    return None if session.device.startswith("cuda") else f"the device is {session.device}"


def machine_checks(session: Session, throughput: Throughput) -> list[Check]:
    """The report's advisory ranges: CPU, VRAM and games/min during self-play."""
    expectations = with_overrides(session.settings.expect)
    on_gpu = throughput.device.startswith("cuda")
    device = throughput.device
    cpu = _mean(session, device, "CPU utilisation", [timeline.HOST_CPU], "%")
    checks = [advisory(cpu, expectations["cpu"])]
    if on_gpu:
        names = [f"gpu/{uuid}/memory_used" for uuid in session.gpu_uuids]
        # NVML counts in MiB, the bug report in GB.
        memory = _mean(session, device, "GPU memory used", names, "GB", 1024**2 / 1000**3)
        checks.append(advisory(memory, expectations["vram"]))
    games = expectations["gpu-games" if on_gpu else "cpu-games"]
    return [*checks, advisory(throughput.games_per_minute, games)]


def _mean(
    session: Session, device: str, name: str, series: list[str], unit: str, scale: float = 1.0
) -> Metric:
    """Mean of all named series over a device's self-play phases, times `scale`."""
    spans = [
        span
        for span in session.trace.spans
        if span.name == SELF_PLAY and span.device in (device, None)
    ]
    values = [
        value
        for one in series
        for span in spans
        for value in session.trace.between(one, span.start, timeline.end_of(span, session.trace))
    ]
    return Metric(
        name=name,
        value=scale * sum(values) / len(values) if values else None,
        unit=unit,
        samples=len(values),
        reason=None if values else "no sample fell into self-play",
    )
