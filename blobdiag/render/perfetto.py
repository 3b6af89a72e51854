"""A report as a timeline for ui.perfetto.dev or chrome://tracing: trace-event JSON.

The format is the public "Trace Event Format" of Chromium; how viewers read it is known from
Perfetto's importer:

- A counter is drawn under its name and the key of its value, so the unit is that key.
- A counter holds its last value until the next one, and a null is an error. So an unknown sample is
  left out, and a slice "not known" marks the stretch whose drawn value means nothing.
- Slices of a thread must nest; those that do not get a second thread of the same name.
- `\\u` escapes of surrogate pairs are refused, so the text is UTF-8 as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import count, groupby
from typing import Any, NamedTuple

from blobdiag.model import names
from blobdiag.model.base import Metric
from blobdiag.model.judgement import Finding
from blobdiag.model.program import ProcessRecord
from blobdiag.model.recorded import Phase, Series
from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord
from blobdiag.render.findings import parts
from blobdiag.render.shortened import shortened

Args = dict[str, Any]


class Slice(NamedTuple):
    """A stretch of time, in µs of the run's clock."""

    name: str
    start: int
    end: int
    args: Args


def trace_text(report: Report) -> bytes:
    """The content of a trace file: one JSON object with `traceEvents`, in UTF-8."""
    text = json.dumps(chrome_trace(shortened(report)), ensure_ascii=False, allow_nan=False)
    return text.encode(errors="replace") + b"\n"


def chrome_trace(report: Report) -> dict[str, Any]:
    """The trace-event object: phases, findings, workers, idle gaps, samples, events; times in µs.

    Processes and threads have numbers of their own, since a GPU is no process and the system may
    use a PID twice; a worker's real PID is in its name.
    """
    tracks = _Tracks()
    run = tracks.process(f"blobdiag {report.command} on {report.device}")
    gpus = {gpu.uuid: tracks.process(_gpu_name(gpu.nvml_index, gpu.name)) for gpu in report.gpus}
    processes = {pid: tracks.process(name) for pid, name in _process_names(report).items()}

    tracks.slices(run, "phases", map(_phase, report.phases))
    for finding in report.findings:
        tracks.instant(run, "findings", finding.title or finding.name, 0, _finding(finding))
    for event in report.events:
        first_line = event.text.partition("\n")[0]
        tracks.instant(
            run, "events", f"{event.kind}: {first_line}", _us(event.at_s), {"text": event.text}
        )
    for device in dict.fromkeys(gap.device for gap in report.idle_gaps):
        gaps = (gap for gap in report.idle_gaps if gap.device == device)
        tracks.slices(
            gpus.get(device, run),
            f"idle gaps of {device}",
            (
                Slice("idle", _us(g.start_s), _us(g.end_s), {"phase": g.phase or "not known"})
                for g in gaps
            ),
        )
    for worker in report.workers:
        tracks.slices(processes[worker.pid], f"worker {worker.worker}", _lives(worker, report))

    for process in report.program.processes if report.program else ():
        tracks.slices(processes[process.pid], "life", [_life(process, report)])

    for series in report.series:
        number, name = _owner(series.name, gpus, processes)
        _counter(tracks, run if number is None else number, name, series, report)

    return {
        "displayTimeUnit": "ms",
        "otherData": _other_data(report),
        "traceEvents": tracks.events(),
    }


def _owner(series: str, gpus: dict[str, int], processes: dict[int, int]) -> tuple[int | None, str]:
    """(number of the GPU or process that a series is drawn under, its name there)."""
    name = names.parse(series)
    if name.gpu in gpus:
        within = name.metric if name.pid is None else names.process(name.pid, name.metric)
        return gpus[name.gpu], within
    if name.gpu is None and name.pid in processes:
        return processes[name.pid], name.metric
    return None, series


class _Tracks:
    """Events as they are added, with the names of their processes and threads."""

    def __init__(self) -> None:
        # One sequence of numbers for both: viewers take a thread's number for unique, too.
        self._numbers = count(1)
        self._threads: dict[tuple[int, str], int] = {}
        self._metadata: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []

    def process(self, name: str) -> int:
        """The number of a new process; they are shown in the order in which they are made."""
        number = next(self._numbers)
        self._name("process", name, number, number)
        return number

    def slices(self, process: int, thread: str, slices: Iterable[Slice]) -> None:
        for lane, nested in enumerate(_lanes(slices)):
            number = self._thread(process, f"{thread} ({lane + 1})" if lane else thread)
            for one in nested:
                self._add("X", process, number, one.name, one.start, one.args)
                self._events[-1]["dur"] = one.end - one.start

    def instant(self, process: int, thread: str, name: str, time: int, args: Args) -> None:
        self._add("i", process, self._thread(process, thread), name, time, args)
        self._events[-1]["s"] = "t"  # drawn on its thread

    def counter(self, process: int, name: str, unit: str, time: int, value: float) -> None:
        self._add("C", process, process, name, time, {unit: value})

    def events(self) -> list[dict[str, Any]]:
        """Names first, then in order of time; of slices that start together the longest first."""
        timed = sorted(self._events, key=lambda event: (event["ts"], -event.get("dur", 0)))
        return self._metadata + timed

    def _thread(self, process: int, name: str) -> int:
        if (process, name) not in self._threads:
            self._threads[process, name] = number = next(self._numbers)
            self._name("thread", name, process, number)
        return self._threads[process, name]

    def _name(self, kind: str, name: str, process: int, thread: int) -> None:
        about = {"ph": "M", "pid": process, "tid": thread, "ts": 0}
        self._metadata += [
            about | {"name": f"{kind}_name", "args": {"name": name}},
            about | {"name": f"{kind}_sort_index", "args": {"sort_index": thread}},
        ]

    def _add(self, kind: str, process: int, thread: int, name: str, time: int, args: Args) -> None:
        self._events.append(
            {"ph": kind, "pid": process, "tid": thread, "name": name, "ts": time, "args": args}
        )


def _lanes(slices: Iterable[Slice]) -> list[list[Slice]]:
    """The slices in as few lists as possible; those of one list nest or do not overlap."""
    lanes: list[list[Slice]] = []
    open_ends: list[list[int]] = []
    for one in sorted(slices, key=lambda s: (s.start, -s.end)):
        number = next((n for n, ends in enumerate(open_ends) if _fits(one, ends)), len(lanes))
        if number == len(lanes):
            lanes.append([])
            open_ends.append([])
        lanes[number].append(one)
        open_ends[number].append(one.end)
    return lanes


def _fits(one: Slice, ends: list[int]) -> bool:
    """Whether a slice fits where slices with these ends are open; removes the ended ones."""
    while ends and ends[-1] <= one.start:
        ends.pop()
    return not ends or one.end <= ends[-1]


def _counter(tracks: _Tracks, process: int, name: str, series: Series, report: Report) -> None:
    """Its known samples, and slices where there is none.

    Samples from before the run began (a driver's buffer holds some) are left out: viewers drop
    times below 0.
    """
    samples = sorted(
        ((_us(t), v) for t, v in zip(series.times_s, series.values, strict=True) if t >= 0),
        key=lambda sample: sample[0],
    )
    for time, value in samples:
        if value is not None:
            tracks.counter(process, name, series.unit or "value", time, value)
    tracks.slices(process, f"{name}: not known", _unknown(samples, _us(report.seconds)))


def _unknown(samples: list[tuple[int, float | None]], end: int) -> Iterator[Slice]:
    """From the first sample of a stretch without values to the next known one, or the run's end."""
    since: int | None = None
    for known, stretch in groupby(samples, key=lambda sample: sample[1] is not None):
        time = next(stretch)[0]
        if not known:
            since = time
        elif since is not None:
            yield Slice("not known", since, time, {})
            since = None
    if since is not None:
        yield Slice("not known", since, max(since, end), {})


def _phase(phase: Phase) -> Slice:
    args = {f"{m.name}, {m.unit}": _value(m) for m in phase.metrics}
    if phase.device is not None:
        args["device"] = phase.device
    return Slice(phase.name, _us(phase.start_s), _us(phase.end_s), args)


def _finding(finding: Finding) -> Args:
    return {"name": finding.name} | {p.label: "\n".join(p.lines) for p in parts(finding)}


def _lives(worker: WorkerRecord, report: Report) -> Iterator[Slice]:
    """A worker from the first sample of its process to the last; nothing where it has none."""
    times = [
        time
        for series in report.series
        if _process(series) == worker.pid
        for time, value in zip(series.times_s, series.values, strict=True)
        if value is not None and time >= 0
    ]
    if times:
        yield Slice(
            f"worker {worker.worker}, {worker.state}",
            _us(min(times)),
            _us(max(times)),
            {
                "device asked": worker.device_asked,
                "parameters on": _known(" ".join(worker.parameter_devices) or None),
                "output on": _known(worker.output_device),
                "dtype": _known(worker.dtype),
                "threads": _known(worker.threads),
                "games": _known(worker.games),
                "evaluations": _known(worker.evaluations),
                "batches": _known(worker.batches),
                **{f"stage {name}, s": spent for name, spent in worker.stage_seconds.items()},
                **{f"{h.phase} at {h.where}, s": h.seconds for h in worker.holds},
            },
        )


def _life(process: ProcessRecord, report: Report) -> Slice:
    """A process of a watched program, with what it called."""
    end = report.seconds if process.ended_s is None else process.ended_s
    calls = {f"{m.module} on {m.parameter_device}, calls": m.calls for m in process.modules}
    return Slice(process.command, _us(process.started_s), _us(end), calls)


def _known(value: str | int | None) -> str | int:
    return "not known" if value is None else value


def _device(worker: WorkerRecord) -> str:
    """Where its network computes, as far as it reported."""
    return worker.output_device or " ".join(worker.parameter_devices) or "a device not known"


def _process_names(report: Report) -> dict[int, str]:
    """By PID: every process that was sampled or is a worker, the measuring one first."""
    known = {} if report.pid is None else {report.pid: f"measuring process (pid {report.pid})"}
    known |= {w.pid: f"worker {w.worker} on {_device(w)} (pid {w.pid})" for w in report.workers}
    if report.program:
        known |= {p.pid: f"{p.command} (pid {p.pid})" for p in report.program.processes}
    for series in report.series:
        if (pid := _process(series)) is not None:
            known.setdefault(pid, f"process (pid {pid})")
    return known


def _process(series: Series) -> int | None:
    """The process that a series is of; None for one of a GPU, its processes included."""
    name = names.parse(series.name)
    return name.pid if name.gpu is None else None


def _gpu_name(index: int | None, name: str) -> str:
    return name if index is None else f"GPU {index}, {name}"


def _other_data(report: Report) -> dict[str, Any]:
    return {
        "command": report.command,
        "device": report.device,
        "verdict": report.verdict.value,
        "verdict_text": report.verdict_text,
        "exit_code": report.exit_code,
        "started_utc": report.started_utc,
        "clock": "µs since the run began to measure",
        "blobdiag": report.software.blobdiag,
        "not_known": report.unsupported,
    }


def _value(metric: Metric) -> float | str:
    return f"not known: {metric.reason}" if metric.value is None else metric.value


def _us(seconds: float) -> int:
    """Whole µs: rounding keeps order, so what nested in seconds nests here."""
    return max(0, round(1e6 * seconds))
