"""Hours of watching by a scripted clock: memory stays flat, the report small, the figures right."""

from __future__ import annotations

import tracemalloc
from statistics import fmean

import pytest
from watched import account, calls, watched

import reports
from blobdiag.diagnosis.program_idle import program_gaps
from blobdiag.model import names
from blobdiag.model.activity import MOST_STRETCHES
from blobdiag.model.limits import MOST_EVENTS
from blobdiag.model.recorded import MOST_POINTS, Event
from blobdiag.sampling import long_trace, proc
from blobdiag.sampling.long_trace import MOST_SERIES, LongTrace
from blobdiag.sampling.reduction import shortest_visible_gap
from blobdiag.sampling.source import TICK_SECONDS
from blobdiag.targets.program import process_tree
from blobdiag.targets.program.phases import BUSY, IDLE, find_phases
from blobdiag.targets.program.process_records import process_records
from blobdiag.targets.program.process_tree import MOST_EXITED, ProcessTree

HOUR = 3600.0
UTILIZATION = names.utilization("GPU-1")


def began() -> LongTrace:
    trace = LongTrace()
    trace.start = 0.0
    return trace


def sample(trace: LongTrace, since: float, until: float, series: int = 20) -> None:
    """Readings of `series` metrics at every tick; the GPU idles for 3 s of each minute."""
    for tick in range(round(since / TICK_SECONDS), round(until / TICK_SECONDS)):
        time = tick * TICK_SECONDS
        trace.add(UTILIZATION, "%", time, 0.0 if time % 60 >= 57 else 80.0)
        for number in range(series - 1):
            trace.add(names.gpu("GPU-1", f"metric {number}"), "W", time, float(tick % 100))
        trace.absorb()


def test_memory_of_a_trace_is_flat_after_its_first_minutes() -> None:
    trace = began()
    tracemalloc.start()
    sizes = []
    for minutes in range(0, 60, 15):
        sample(trace, minutes * 60, (minutes + 15) * 60, series=6)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    most = MOST_POINTS * 6 * 100
    assert max(sizes) < most, "a hundred bytes a point, of at most so many"
    assert all(len(samples.times) <= MOST_POINTS for samples in trace.samples.values())


def test_an_hour_thinned_keeps_means_and_every_idle_stretch() -> None:
    trace = began()
    sample(trace, 0.0, HOUR, series=2)
    known = [value for value in trace.samples[UTILIZATION].values if value is not None]
    assert fmean(known) == pytest.approx(80 * 57 / 60, rel=0.002)
    assert trace.samples[UTILIZATION].stride == 16
    phases = find_phases([], trace, ["GPU-1"], HOUR)
    assert phases.source == "GPU activity"
    names = [span.name for span in phases.spans]
    assert names == [BUSY, IDLE] * 60
    # From the first sample of 0 to the last, though points are 3.2 s apart by now.
    lengths = [s.end - s.start for s in phases.spans[:-1] if s.name == IDLE and s.end is not None]
    assert lengths == pytest.approx([3.0 - TICK_SECONDS] * 59)
    gaps = program_gaps(reports.of_program(trace, phases, ["GPU-1"], HOUR))
    assert len(gaps) == 59, "the last one is not followed by work"
    assert shortest_visible_gap(trace, ["GPU-1"]) == pytest.approx(1.0 + TICK_SECONDS)


def test_of_very_many_idle_stretches_the_longest_are_kept() -> None:
    trace = began()
    time = 0.0
    for number in range(3 * MOST_STRETCHES):
        idle = 10 + number % 7
        for value in [90.0] + [0.0] * idle:
            trace.add(UTILIZATION, "%", time, value)
            time += TICK_SECONDS
    trace.absorb()
    kept = trace.activity[UTILIZATION].idle()
    assert len(kept) == MOST_STRETCHES + 1, "the one at the end may still grow"
    shortest = min(end - start for start, end in kept[:-1])
    assert shortest == pytest.approx(13 * TICK_SECONDS)


def test_series_of_processes_that_ended_are_dropped_but_for_those_kept() -> None:
    trace = began()
    for pid in (11, 12):
        trace.add(names.process(pid, "cpu"), "%", 1.0, 50.0)
        trace.add(names.gpu_process("GPU-1", pid, "memory"), "MiB", 1.0, 500.0)
    trace.add(names.HOST_CPU, "%", 1.0, 50.0)
    trace.absorb()
    trace.forget_processes(10.0, set())
    assert len(trace.samples) == 5, "they may only be late"
    trace.forget_processes(100.0, {12})
    assert set(trace.samples) == {
        names.process(12, "cpu"),
        names.gpu_process("GPU-1", 12, "memory"),
        names.HOST_CPU,
    }


def test_a_report_s_series_are_bounded_together() -> None:
    trace = began()
    for number in range(MOST_SERIES + 50):
        for tick in range(400):
            trace.add(f"metric {number}", "W", tick / 3, tick / 7)
    trace.absorb()
    series = trace.to_series()
    assert len(series) == MOST_SERIES
    assert trace.not_begun == 50 * 400
    assert sum(len(one.times_s) for one in series) <= long_trace.MOST_POINTS_TOGETHER
    assert sum(len(one.model_dump_json(indent=1)) for one in series) < 3_500_000


def test_a_whole_report_is_bounded() -> None:
    trace = began()
    for number in range(MOST_SERIES):
        for tick in range(400):
            trace.add(names.gpu("GPU-12345678-1234", f"metric {number}"), "W", tick / 3, tick / 7)
    trace.absorb()
    histogram = {1 << size: 123_456_789 for size in range(20)}
    kinds = [calls(number=n + 1, batch_histogram=histogram) for n in range(128)]
    counts = [account(pid, kinds) for pid in range(300)]
    records, left_out = process_records([], counts, {}, None, 0.0)
    report = watched(records)
    event = Event(at_s=1.23456789, kind="signal", text="SIGTERM was forwarded to the command")
    full = report.model_copy(update={"series": trace.to_series(), "events": [event] * MOST_EVENTS})
    assert (len(records), left_out) == (200, 100)
    assert len(full.model_dump_json(indent=1)) <= 5_000_000


class Machine:
    """A scripted /proc: one process after another, each a child of the command, for 3 s."""

    ROOT = 100

    def __init__(self) -> None:
        self.now = 0.0

    def children(self) -> dict[int, float]:
        """PID: when it was started."""
        return {
            1000 + int(start): start
            for start in (int(self.now) - 2, int(self.now) - 1, int(self.now))
            if start >= 0
        }

    def pids(self) -> set[int]:
        return {1, self.ROOT, *self.children()}

    def stat(self, pid: int) -> proc.Stat | None:
        if pid not in self.pids():
            return None
        start = self.children().get(pid, 0.0)
        return proc.Stat(
            pid=pid,
            parent_pid=1 if pid <= self.ROOT else self.ROOT,
            state="S",
            start_ticks=int(start * proc.TICKS_PER_SECOND),
            cpu_seconds=(pid - 999) / 1000 if pid > self.ROOT else 0.0,
            threads=1,
            rss_mib=10.0,
        )


def test_a_tree_of_thousands_of_short_processes_keeps_the_busiest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()
    monkeypatch.setattr(proc, "pids", machine.pids)
    monkeypatch.setattr(proc, "stat", machine.stat)
    monkeypatch.setattr(proc, "environment", lambda pid: {})
    monkeypatch.setattr(process_tree, "monotonic", lambda: machine.now)
    program = ProcessTree(Machine.ROOT, ("MARK", "1"))
    while machine.now < HOUR:
        program.scan()
        machine.now += 0.5
    told = list(program)
    assert len(told) < 2 * MOST_EXITED + 10
    assert len(told) + program.left_out == 3600 + 1, "each was seen once"
    assert program.cpu_seconds == pytest.approx(sum(range(1, 3601)) / 1000)
    assert told[0].pid == Machine.ROOT
    # Of those that ended long ago the busiest.
    ended = sorted(p.pid for p in told if not p.alive)
    assert ended[0] > 1000 + 3600 - 2 * MOST_EXITED - 10
