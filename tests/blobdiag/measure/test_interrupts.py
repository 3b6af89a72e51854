"""Runs that are cut short: by Ctrl-C, SIGTERM, SIGHUP, a killed worker, a killed sampler.

All of these end in a report; a run that is killed itself leaves no process.

Moments are chosen by the phase lines on stderr. Nothing here needs a GPU or sees one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import psutil
import pytest
from sessions import new_session

from blobdiag.measure.interrupts import (
    Terminated,
    TimedOut,
    lift_time_limit,
    termination_raises,
    time_limit,
)
from blobdiag.model.base import Status
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.model.settings import Settings

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

SMALL = (
    *("--device", "cpu", "--network", "32-2-4-64", "--determinizations", "2", "--lanes", "6"),
    *("--dtype", "float32", "--workers"),
)
ENDLESS = ("compare", *SMALL, "1", "--simulations", "6", "--min-seconds", "600")
LONG_WARM_UP = ("compare", *SMALL, "1", "--simulations", "2000")
LONG_TRAINING = ("iteration", *SMALL, "1", "--simulations", "6", "--games", "24", "--reuse", "9999")
SHORT = ("compare", *SMALL, "2", "--simulations", "6", "--games", "20")
MOMENTS = {
    # moment: the command that is in it for long, the line that begins it, seconds to wait then
    "start-up": (ENDLESS, "start-up on cpu", 0.5),
    "warm-up": (LONG_WARM_UP, "warm-up on cpu", 0.1),
    "self-play": (ENDLESS, "self-play on cpu", 0.5),
    "training": (LONG_TRAINING, "training", 0.5),
}
SECONDS = 240
"""More than any run takes, the first compilation of the kernels included."""


class Ended(NamedTuple):
    """How a run came out."""

    code: int
    errors: str
    report: Report


class Run:
    """A command under way, in a process group of its own."""

    def __init__(self, folder: Path, *arguments: str, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.output, self.errors = folder / "stdout.txt", folder / "stderr.txt"
        with self.output.open("w") as output, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "blobdiag", *arguments],
                cwd=folder,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def wait_for(self, met: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not met():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.005)

    def wait_for_phase(self, name: str) -> None:
        self.wait_for(lambda: f"{name} …\n" in self.errors.read_text())

    def reports(self) -> list[Path]:
        """Reports that are complete: an empty file only holds the name."""
        return [p for p in self.folder.glob("reports/*.json") if p.stat().st_size]

    def children(self) -> list[psutil.Process]:
        """All processes of the run but the first, oldest first."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return sorted(found, key=lambda process: process.create_time())

    def sampler_and_workers(self) -> tuple[psutil.Process, list[psutil.Process]]:
        """By their command lines; multiprocessing's own helper is left out."""
        commands = {child: " ".join(child.cmdline()) for child in self.children()}
        [sampler] = [child for child, text in commands.items() if "blobdiag.sampling" in text]
        return sampler, [child for child, text in commands.items() if "spawn_main" in text]

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it: to every process of the group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def terminate(self) -> None:
        """SIGTERM, as a supervisor sends it: to the one process it knows."""
        self.process.terminate()

    def hang_up(self) -> None:
        """SIGHUP, as from a terminal that is closed: to every process of the group."""
        os.killpg(self.process.pid, signal.SIGHUP)

    def end(self) -> Ended:
        code = self.process.wait(SECONDS)
        assert self.output.read_text(), self.errors.read_text()
        report = read_report(self.folder / self.output.read_text().splitlines()[-1])
        assert report.exit_code == code
        return Ended(code, self.errors.read_text(), report)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs, each in a folder of its own; what is left when a test fails is ended."""
    runs: list[Run] = []

    def starting(*arguments: str, prefix: Sequence[str] = ()) -> Run:
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        runs.append(Run(folder, *arguments, prefix=prefix))
        return runs[-1]

    yield starting
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()


def assert_gone(processes: list[psutil.Process], seconds: float = 10) -> None:
    """All of them ended, within the seconds that multiprocessing's helper needs to see it."""
    deadline = time.monotonic() + seconds
    while left := [p for p in processes if is_alive(p)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    """A zombie has ended; only nobody asked how."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_interrupted(ended: Ended, code: int) -> None:
    assert ended.code == code
    assert ended.report.interrupted
    assert ended.report.verdict is Status.INCONCLUSIVE
    assert [e.text for e in ended.report.events if e.kind == "interrupted"] == [
        {129: "SIGHUP", 130: "SIGINT", 143: "SIGTERM"}[code]
    ]
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize("moment", [pytest.param(m, marks=pytest.mark.slow) for m in MOMENTS])
def test_an_interrupted_run_leaves_a_report_and_no_process(
    start: Callable[..., Run], moment: str
) -> None:
    """Two runs side by side: one is interrupted, one terminated."""
    arguments, line, seconds = MOMENTS[moment]
    runs = {130: start(*arguments), 143: start(*arguments)}
    for run in runs.values():
        run.wait_for_phase(line)
    time.sleep(seconds)
    started = {code: run.sampler_and_workers() for code, run in runs.items()}
    everything = [child for run in runs.values() for child in run.children()]
    runs[130].interrupt()
    runs[143].terminate()
    for code, run in runs.items():
        sampler, workers = started[code]
        assert len(workers) == 1
        ended = run.end()
        assert_interrupted(ended, code)
        last = [phase.name for phase in ended.report.phases if phase.name != "shut-down"][-1]
        assert last == moment
        assert_gone([sampler, *workers])
        assert any(series.name == "host/cpu" for series in ended.report.series)
        if moment != "start-up":
            assert {w.pid for w in ended.report.workers} == {w.pid for w in workers}
    assert_gone(everything)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_what_ends_a_measurement_is_an_exception(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def measure() -> None:
        with termination_raises():
            os.kill(os.getpid(), number)
            time.sleep(5)

    with pytest.raises(Terminated) as ended:
        measure()
    assert (ended.value.by, ended.value.exit_code) == (number.name, 128 + number)
    assert signal.getsignal(number) is before


def test_a_hang_up_that_was_ignored_stays_ignored() -> None:
    """As under nohup(1)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with termination_raises():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("moment", [pytest.param(m, marks=pytest.mark.slow) for m in MOMENTS])
def test_a_closed_terminal_leaves_a_report_and_no_process(
    start: Callable[..., Run], moment: str
) -> None:
    arguments, line, seconds = MOMENTS[moment]
    run = start(*arguments)
    run.wait_for_phase(line)
    time.sleep(seconds)
    everything = run.children()
    run.hang_up()
    assert_interrupted(run.end(), 129)
    assert_gone(everything)


@pytest.mark.slow
def test_under_nohup_a_closed_terminal_ends_nothing(start: Callable[..., Run]) -> None:
    run = start(*SHORT, "--min-seconds", "2", prefix=["nohup"])
    for line in ("sampler start", "start-up on cpu", "self-play on cpu"):
        run.wait_for_phase(line)
        run.hang_up()
    ended = run.end()
    assert ended.code == 0
    assert not ended.report.interrupted
    # What the sampler tells of are workers that have ended, when all is done.
    assert {event.kind for event in ended.report.events} <= {"sampler"}
    assert {worker.state for worker in ended.report.workers} == {"finished"}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--explain",)], ids=["sweep", "explain"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=lambda number: number.name)
def test_a_tune_that_is_ended_leaves_no_process(
    start: Callable[..., Run], arguments: tuple[str, ...], number: signal.Signals
) -> None:
    run = start("tune", *SMALL, "1", *arguments)
    run.wait_for(lambda: len(run.children()) >= 2)
    everything = run.children()
    os.killpg(run.process.pid, number) if number == signal.SIGHUP else run.terminate()
    assert run.process.wait(SECONDS) == 128 + number
    assert_gone(everything)
    assert "Traceback" not in run.errors.read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("seconds", [0.05, 0.5])
@pytest.mark.parametrize("line", ["sampler start", "start-up on cpu", "self-play on cpu"])
def test_a_killed_run_leaves_no_process_and_prints_nothing(
    start: Callable[..., Run], line: str, seconds: float
) -> None:
    run = start(*ENDLESS)
    run.wait_for_phase(line)
    time.sleep(seconds)
    everything = run.children()
    before = run.errors.read_text()
    run.process.kill()
    assert run.process.wait(SECONDS) == -signal.SIGKILL
    assert_gone(everything, seconds=3)
    assert run.errors.read_text().startswith(before)
    assert "Traceback" not in run.errors.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.01, 0.5])
def test_ctrl_c_in_start_up_prints_no_traceback(start: Callable[..., Run], seconds: float) -> None:
    run = start(*ENDLESS)
    run.wait_for_phase("start-up on cpu")
    time.sleep(seconds)
    everything = run.children()
    run.interrupt()
    assert_interrupted(run.end(), 130)
    assert_gone(everything)


@pytest.mark.slow
def test_a_run_whose_time_is_over_leaves_a_report_and_no_process(
    start: Callable[..., Run],
) -> None:
    run = start(*ENDLESS, "--timeout", "8", "--format", "junit")
    run.wait_for_phase("self-play on cpu")
    children = run.children()
    code = run.process.wait(SECONDS)
    assert code == 3
    [path] = run.reports()
    report = read_report(path)
    assert report.exit_code == 3
    assert report.interrupted
    assert report.verdict is Status.INCONCLUSIVE
    assert report.verdict_text.startswith("The GPU was not tested: ")
    assert "The time ran out (--timeout 8 s)" in report.verdict_text
    assert [e.text for e in report.events if e.kind == "timed-out"] == ["--timeout 8"]
    assert not [e for e in report.events if e.kind in ("interrupted", "failed")]
    assert 8 <= report.seconds < 15
    assert report.throughput[0].games > 0
    assert_gone(children)
    errors = run.errors.read_text()
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == f"reports/{path.name}"
    suite = ElementTree.fromstring(run.output.read_text())
    assert suite.get("errors") == "1"


def test_what_is_left_of_the_time_holds_after_an_arm_has_ended() -> None:
    """As for a remedy that is measured: the arm's end lifts the limit."""
    session = new_session(Settings(device="cpu", timeout=5.2))
    session.trace.start -= 5
    with time_limit(5.2):
        lift_time_limit()
        with pytest.raises(TimedOut), session.time_left():
            time.sleep(5)
    unlimited = new_session(Settings(device="cpu"))
    with unlimited.time_left():
        pass


@pytest.mark.slow
def test_more_interrupts_while_the_report_is_made_do_not_lose_it(
    start: Callable[..., Run],
) -> None:
    """From the moment the workers are shut down until the report is there."""
    run = start(*ENDLESS)
    run.wait_for_phase("self-play on cpu")
    children = run.children()
    run.interrupt()
    run.wait_for_phase("shut-down on cpu")
    sent = 0
    while not run.reports():
        run.interrupt()
        sent += 1
        time.sleep(0.01)
    ended = run.end()
    assert sent > 1
    assert_interrupted(ended, 130)
    assert [worker.state for worker in ended.report.workers] == ["finished"]
    assert_gone(children)


@pytest.mark.slow
def test_a_killed_sampler_and_a_killed_worker_are_told_of_and_the_run_goes_on(
    start: Callable[..., Run],
) -> None:
    run = start(*SHORT, "--min-seconds", "3")
    run.wait_for_phase("self-play on cpu")
    sampler, workers = run.sampler_and_workers()
    sampler.kill()
    workers[0].kill()
    ended = run.end()
    assert ended.code == 0
    assert not ended.report.interrupted
    window = next(phase for phase in ended.report.phases if phase.name == "self-play")

    [event] = [event for event in ended.report.events if event.kind == "sampler"]
    assert "killed by SIGKILL" in event.text
    series = next(series for series in ended.report.series if series.name == "host/cpu")
    assert series.times_s[-1] < window.start_s + 1

    states = {worker.pid: worker.state for worker in ended.report.workers}
    assert states.pop(workers[0].pid) == "lost"
    assert states.pop(workers[1].pid) == "finished"
    # The window may be over before the new worker has started.
    assert list(states.values()) in ([], ["finished"])
    [event] = [event for event in ended.report.events if event.kind == "worker-lost"]
    assert f"(pid {workers[0].pid})" in event.text
    assert "exit code -9" in event.text
    assert window.start_s <= event.at_s <= window.end_s
    cpu = ended.report.throughput[0]
    assert cpu.games >= 20
    assert cpu.window_seconds >= 3
    assert min(block.evaluations for block in cpu.blocks) > 0
    assert cpu.search_health.distinct_share is not None
    assert cpu.search_health.distinct_share >= 0.99
    assert_gone([sampler, *workers])


@pytest.mark.slow
def test_a_worker_that_stands_still_is_ended_and_its_stacks_name_no_folder(
    start: Callable[..., Run],
) -> None:
    run = start(*SHORT, "--min-seconds", "2", "--stall-seconds", "1")
    run.wait_for_phase("self-play on cpu")
    _, workers = run.sampler_and_workers()
    workers[0].suspend()
    ended = run.end()
    assert ended.code == 0
    [stalled] = [worker for worker in ended.report.workers if worker.state == "stalled"]
    assert stalled.pid == workers[0].pid
    assert stalled.stacks is not None
    assert re.search(r'worker\.py", line \d+', stalled.stacks)
    assert not re.search(r'"(/|[A-Z]:)', stalled.stacks)
    [event] = [event for event in ended.report.events if event.kind.startswith("worker")]
    assert event.kind == "worker-stalled"
    assert f"(pid {stalled.pid}) took no step for 1" in event.text
    assert ended.report.throughput[0].games >= 20
    assert_gone(workers)
