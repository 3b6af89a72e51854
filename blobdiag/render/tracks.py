"""The content of a timeline: panels of sampled lines, and their figures by phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from blobdiag.model import names
from blobdiag.model.judgement import IdleGap
from blobdiag.model.machine import Gpu
from blobdiag.model.recorded import Phase, Series
from blobdiag.model.report import Report

CPU = "cpu"
MIB_PER_GIB = 1024.0

# All lines of a page together: a page stays far below its 1.5 MB, and each line finer than a pixel
# until there are more than about ten.
MOST_POINTS = 12_000
FEWEST_POINTS = 48
MOST_GPUS = 32
"""Of which panels are drawn: more than any machine has."""
# As many phases, and figures of lines by phase.
MOST_PHASES = 200
MOST_FIGURES = 2_000
# A step this many times the median is a hole: nothing was sampled in it.
HOLE_STEPS = 4.0


@dataclass(frozen=True)
class TrackLine:
    """One sampled metric; `values` in `unit`, None where nothing is known."""

    label: str
    unit: str
    times: Sequence[float]
    """Seconds of the run, ascending."""
    values: Sequence[float | None]


@dataclass(frozen=True)
class Panel:
    """Lines over one axis, from 0 to `top` in their unit."""

    title: str
    unit: str
    top: float
    lines: list[TrackLine]
    gaps: list[tuple[int, IdleGap]] = field(default_factory=list)
    """The idle gaps of its device, with their numbers in the report, from 1."""


@dataclass(frozen=True)
class Tracks:
    """All of a timeline."""

    end: float
    """Seconds: the run's length."""
    phases: list[Phase]
    """The longest, in the report's order."""
    left_out: int
    """How many shorter phases the report has."""
    panels: list[Panel]
    missing: list[tuple[str, str]]
    """(metric, why it is not shown)."""


class Summary(NamedTuple):
    """A line's figures within a phase; None where no sample fell into it."""

    line: str
    unit: str
    low: float | None
    mean: float | None
    high: float | None
    samples: int


def tracks(report: Report) -> Tracks:
    """GPU utilisation, SM activity, VRAM and CPU of a report, as sampled."""
    missing: list[tuple[str, str]] = []
    panels: list[Panel] = []
    for number, gpu in enumerate(report.gpus[:MOST_GPUS]):
        panels += _gpu_panels(report, gpu, number, missing)
    if len(report.gpus) > MOST_GPUS:
        missing.append((f"{len(report.gpus) - MOST_GPUS:,} GPUs more", "see the JSON"))
    if not report.gpus:
        missing.append(("GPU", report.gpu_reason or "none was looked for"))
    cpu = _line(report, names.HOST_CPU, "CPU", missing)
    if cpu is not None:
        panels.append(Panel("CPU of all cores, %", "%", 100.0, [cpu], _gaps(report, CPU)))
    lines = [line for panel in panels for line in panel.lines]
    end = max(
        report.seconds,
        *(phase.end_s for phase in report.phases),
        *(line.times[-1] for line in lines),
        0.0,
    )
    most = min(MOST_PHASES, MOST_FIGURES // max(len(lines), 1))
    phases = _longest(report.phases, most)
    return Tracks(end, phases, len(report.phases) - len(phases), panels, missing)


def _longest(phases: Sequence[Phase], most: int) -> list[Phase]:
    by_length = sorted(range(len(phases)), key=lambda i: phases[i].seconds, reverse=True)
    return [phases[i] for i in sorted(by_length[:most])]


def _gpu_panels(
    report: Report, gpu: Gpu, number: int, missing: list[tuple[str, str]]
) -> Iterator[Panel]:
    """Utilisation and SM activity, both in %; and the memory below."""
    name = f"GPU {number if gpu.nvml_index is None else gpu.nvml_index}"
    lines = [
        line
        for metric, label in (("utilization", "utilisation"), ("sm_activity", "SM activity"))
        if (line := _line(report, names.gpu(gpu.uuid, metric), f"{name} {label}", missing))
    ]
    if lines:
        yield Panel(f"{name}, % · {gpu.name}", "%", 100.0, lines, _gaps(report, gpu.uuid))
    used = _line(report, names.gpu(gpu.uuid, "memory_used"), f"{name} VRAM", missing)
    if used is None:
        return
    used = TrackLine(
        used.label, "GiB", used.times, [v if v is None else v / MIB_PER_GIB for v in used.values]
    )
    most = max((v for v in used.values if v is not None), default=0.0)
    yield Panel(
        f"{name} · VRAM, GiB", "GiB", max(most, (gpu.memory_mib or 0.0) / MIB_PER_GIB), [used]
    )


def _line(
    report: Report, name: str, label: str, missing: list[tuple[str, str]]
) -> TrackLine | None:
    one: Series | None = next((one for one in report.series if one.name == name), None)
    if one is None or all(value is None for value in one.values):
        missing.append((label, report.unsupported.get(name, "not sampled")))
        return None
    points = sorted(zip(one.times_s, one.values, strict=True), key=lambda point: point[0])
    return TrackLine(label, one.unit, [t for t, _ in points], [v for _, v in points])


def _gaps(report: Report, device: str) -> list[tuple[int, IdleGap]]:
    return [(n, gap) for n, gap in enumerate(report.idle_gaps, 1) if gap.device == device]


def summaries(panels: Sequence[Panel], phase: Phase) -> list[Summary]:
    """Least, mean and greatest of every line within a phase."""
    return [_summary(line, phase) for panel in panels for line in panel.lines]


def _summary(line: TrackLine, phase: Phase) -> Summary:
    within = [
        value
        for time, value in zip(line.times, line.values, strict=True)
        if value is not None and phase.start_s <= time <= phase.end_s
    ]
    if not within:
        return Summary(line.label, line.unit, None, None, None, 0)
    mean = sum(within) / len(within)
    return Summary(line.label, line.unit, min(within), mean, max(within), len(within))


def drawable(panels: Sequence[Panel]) -> list[Panel]:
    """The panels with holes marked by None, thinned to what a page can hold."""
    lines = sum(len(panel.lines) for panel in panels)
    most = max(FEWEST_POINTS, MOST_POINTS // max(lines, 1))
    return [
        Panel(p.title, p.unit, p.top, [_thinned(_broken(one), most) for one in p.lines], p.gaps)
        for p in panels
    ]


def _broken(line: TrackLine) -> TrackLine:
    """None in the middle of each hole, so that nothing is drawn across it."""
    steps = [later - earlier for earlier, later in pairwise(line.times)]
    longest = HOLE_STEPS * median(steps) if steps else 0.0
    holes = [
        ((earlier + later) / 2, None)
        for earlier, later in pairwise(line.times)
        if later - earlier > longest
    ]
    points = [*zip(line.times, line.values, strict=True), *holes]
    points.sort(key=lambda point: point[0])
    return TrackLine(line.label, line.unit, [t for t, _ in points], [v for _, v in points])


def _thinned(line: TrackLine, most: int) -> TrackLine:
    """At most `most` points: of each stretch its least, its greatest and its first unknown."""
    if len(line.times) <= most:
        return line
    size = -(-3 * len(line.times) // most)
    chosen: list[int] = []
    for start in range(0, len(line.times), size):
        stretch = range(start, min(start + size, len(line.times)))
        known = [(value, i) for i in stretch if (value := line.values[i]) is not None]
        some = {min(known)[1], max(known)[1]} if known else set()
        some |= set([i for i in stretch if line.values[i] is None][:1])
        chosen += sorted(some)
    times, values = [line.times[i] for i in chosen], [line.values[i] for i in chosen]
    return TrackLine(line.label, line.unit, times, values)
