"""Another project's engine under the three tests: a real one, in a package called `engine` too."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from blobdiag.model import names
from blobdiag.model.base import Status
from blobdiag.model.errors import UserError
from blobdiag.model.judgement import Check
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.model.settings import Settings
from blobdiag.targets.external.engine import ExternalArm
from blobdiag.targets.external.engine_process import EngineFailed, EngineProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="--engine needs Linux")

PROJECT = Path(__file__).parents[3] / "programs" / "own_project"
ROOT = Path(__file__).parents[4]
EXAMPLE = ROOT / "examples" / "noughts_and_crosses"
SECONDS = 120
MODES = {"play": ["play"], "train": ["play", "train"]}


# Through the command line


class Run(NamedTuple):
    """A command that has ended."""

    code: int
    errors: str
    report: Report | None

    def check(self, name: str) -> Check:
        assert self.report is not None
        return next(check for check in self.report.checks if check.name == name)


def start(folder: Path, *arguments: str, cwd: Path = PROJECT) -> subprocess.Popen[str]:
    """Start the command where the project is, as its user would; no GPU is seen."""
    return subprocess.Popen(
        [sys.executable, "-m", "blobdiag", *arguments, "--output", str(folder / "report.json")],
        cwd=cwd,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], folder: Path) -> Run:
    _, errors = process.communicate(timeout=SECONDS)
    path = folder / "report.json"
    report = read_report(path) if path.exists() else None
    assert "Traceback" not in errors
    assert report is None or report.exit_code == process.returncode
    return Run(process.returncode, errors, report)


RUNS = {
    "example": ("iteration", "--engine", "measured:make", "--min-seconds", "2", "--games", "64"),
    "compare": (
        *("compare", "--engine", "engine.random_play:Pool", "--workers", "3"),
        *("--min-seconds", "6"),
    ),
    "iteration": (
        *("iteration", "--engine", "engine.random_play:OneProcess", "--games", "100"),
        *("--min-seconds", "3", "--plan-games", "1000"),
    ),
    "check-gpu": ("check-gpu", "--engine", "engine.random_play:OneProcess"),
    "fails": ("iteration", "--engine", "engine.broken:CannotTrain", "--min-seconds", "1"),
    "refused": ("compare", "--engine", "engine.broken:refuses"),
}


LONG = ("compare", "iteration")


class Runs(dict[str, Run]):
    """Each by its name; the long ones are run when a test asks for them."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self.factory = factory
        quick = [name for name in RUNS if name not in LONG]
        # At once: the games of these engines take time, and no core.
        with ThreadPoolExecutor(3) as pool:
            super().__init__(zip(quick, pool.map(self.run, quick), strict=True))

    def __missing__(self, name: str) -> Run:
        self[name] = self.run(name)
        return self[name]

    def run(self, name: str) -> Run:
        cwd, folder = EXAMPLE if name == "example" else PROJECT, self.factory.mktemp(name)
        return ended(start(folder, *RUNS[name], cwd=cwd), folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory)


@pytest.mark.slow
def test_compare_counts_the_games_of_three_workers(runs: dict[str, Run]) -> None:
    """Waves of 40 games of 10 ms or less, three at a time: at most 18,000 a minute."""
    run = runs["compare"]
    assert (run.code, run.report and run.report.verdict) == (0, Status.NOT_APPLICABLE)
    assert run.report is not None
    [cpu] = run.report.throughput
    rate = cpu.games_per_minute
    assert rate.value == pytest.approx(60 * cpu.games / cpu.window_seconds)
    assert rate.interval is not None
    assert 6_000 < rate.value < 30_000
    assert cpu.window_seconds >= 6
    assert cpu.games % 40 == 0
    assert sum(block.games for block in cpu.blocks) == cpu.games
    assert sum(block.seconds for block in cpu.blocks) == pytest.approx(cpu.window_seconds)
    assert cpu.warm_up_seconds >= 2
    series = [names.parse(series.name) for series in run.report.series]
    processes = [name for name in series if name.pid is not None and name.metric == "cpu"]
    assert len(processes) >= 5, "ours, the engine's and its three workers'"


@pytest.mark.slow
def test_what_is_not_seen_is_null_and_never_a_pass(runs: dict[str, Run]) -> None:
    run = runs["compare"]
    assert run.report is not None
    [cpu] = run.report.throughput
    assert (cpu.dtype, cpu.threads, cpu.lanes, cpu.mean_batch) == (None, None, None, None)
    assert [block.evaluations for block in cpu.blocks] == [None] * len(cpu.blocks)
    assert cpu.evaluations_per_second.value is None
    assert cpu.evaluations_per_second.reason == "the engine does not count its evaluations"
    assert cpu.search_health.distinct_share is None
    assert cpu.bare_network == []
    assert run.report.workers == []
    for name in ("distinct evaluations", "searches deep", "policy not uniform"):
        assert run.check(name).status is Status.NOT_APPLICABLE
        assert "engine.random_play:Pool" in run.check(name).observation
    assert run.report.configuration["workers"] == 3
    for name in ("network", "simulations", "lanes", "players", "dtype"):
        assert run.report.configuration[name] is None


@pytest.mark.slow
def test_an_iteration_plans_with_the_engines_own_training(runs: dict[str, Run]) -> None:
    run = runs["iteration"]
    assert run.code == 0
    assert run.check("workers on the device").status is Status.PASS
    assert run.report is not None
    assert run.report.plan is not None
    figures = {metric.name: metric.value or 0.0 for metric in run.report.metrics}
    assert figures["games played"] >= 100
    trained, played = figures["examples trained on"], figures["games played"]
    assert trained == pytest.approx(3 * played, rel=0.1)
    terms = {term.name: term.minutes for term in run.report.plan.terms}
    assert set(terms) == {"self-play", "training", "start-up"}
    speed = figures["examples per second"]
    assert terms["training"] == pytest.approx(1000 * trained / played / speed / 60)
    rate = run.report.throughput[0].games_per_minute.value
    assert rate is not None
    assert terms["self-play"] == pytest.approx(1000 / rate)
    evaluations = run.report.throughput[0].evaluations_per_second.value
    assert evaluations is not None
    assert 5 <= 60 * evaluations / rate <= 9, "moves a game"


@pytest.mark.slow
def test_nothing_of_an_engine_outlives_a_blobdiag_that_is_killed(tmp_path: Path) -> None:
    """Its pool's workers neither, whose own parent is killed as well."""
    arguments = ("compare", "--engine", "engine.random_play:Pool", "--workers", "2")
    process = start(tmp_path, *arguments, "--min-seconds", "600")
    watched = psutil.Process(process.pid)
    engine: list[psutil.Process] = []

    def with_workers() -> bool:
        assert process.poll() is None
        try:
            leaders = [child for child in watched.children() if os.getsid(child.pid) == child.pid]
            engine[:] = [p for one in leaders for p in (one, *one.children(recursive=True))]
            return any(len(one.children()) == 2 for one in leaders)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False

    try:
        wait_for(with_workers)
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: not any(alive(one) for one in engine))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_check_gpu_without_a_gpu_is_inconclusive(runs: dict[str, Run]) -> None:
    run = runs["check-gpu"]
    assert (run.code, run.report and run.report.verdict) == (3, Status.INCONCLUSIVE)
    assert run.report is not None
    assert run.report.verdict_text.startswith("cuda is not available: ")
    assert run.check("workers on the device").status is Status.INCONCLUSIVE


def test_an_engine_that_fails_is_a_line_in_a_valid_report(runs: dict[str, Run]) -> None:
    run = runs["fails"]
    assert run.code == 3
    assert run.report is not None
    first = "the engine failed: RuntimeError: loss is nan."
    assert run.report.verdict_text.startswith(first)
    assert run.report.plan is None
    assert run.report.throughput[0].games > 0, "what was played is kept"
    [event] = [event for event in run.report.events if event.kind == "engine-failed"]
    assert "in train" in event.text


def test_an_engine_that_refuses_is_one_line_and_exit_code_2(runs: dict[str, Run]) -> None:
    run = runs["refused"]
    assert (run.code, run.report) == (2, None)
    last = run.errors.splitlines()[-1]
    assert last.startswith("blobdiag: --engine: ValueError: no kernels for cpu (broken.py, line ")


def test_the_example_is_seen_from_inside(runs: dict[str, Run]) -> None:
    """Its workers say nothing: their forward calls are counted, one position a call."""
    run = runs["example"]
    assert run.report is not None
    assert run.check("workers on the device").status is Status.PASS
    assert run.check("workers on the device").observation == "all of 2 workers on cpu"
    for worker in run.report.workers:
        assert (worker.parameter_devices, worker.dtype) == (["cpu"], "float32")
        assert (worker.grad_enabled, worker.train_mode) == (False, False)
        assert worker.intra_op_threads == 1
        assert set(worker.batch_histogram) == {1}
    [cpu] = run.report.throughput
    # Read while it is written: one call may have its rows counted, and not yet itself.
    assert cpu.mean_batch == pytest.approx(1, rel=0.01)
    positions = sum(worker.evaluations or 0 for worker in run.report.workers)
    assert 5 <= positions / cpu.games <= 9, "moves a game"
    assert sum(block.evaluations or 0 for block in cpu.blocks) == pytest.approx(positions, rel=0.1)
    figures = {metric.name: metric.value or 0.0 for metric in run.report.metrics}
    assert 5 <= figures["examples trained on"] / figures["games played"] <= 9
    assert run.report.plan is not None


def test_readme_shows_the_example() -> None:
    [shown] = re.findall(
        r"```python\n(class Measured.*?)```", (ROOT / "docs" / "own-engine.md").read_text(), re.S
    )
    assert (EXAMPLE / "measured.py").read_text().endswith(shown)


@pytest.mark.slow
def test_ctrl_c_ends_the_engine_and_all_it_started(tmp_path: Path) -> None:
    process = start(tmp_path, "compare", "--engine", "engine.broken:Litters", "--min-seconds", "99")
    assert process.stderr is not None
    while "self-play on cpu" not in process.stderr.readline():
        assert process.poll() is None
    left = psutil.Process(process.pid).children(recursive=True)
    orphans = [p for p in psutil.process_iter(["cmdline"]) if "SIGTERM" in str(p.info["cmdline"])]
    assert len(orphans) == 3
    os.killpg(process.pid, signal.SIGINT)
    run = ended(process, tmp_path)
    assert run.code == 130
    assert run.report is not None
    assert run.report.interrupted
    assert run.report.throughput[0].games > 0
    assert not [p for p in orphans if runs_on(p)]
    # multiprocessing's own helper needs a moment to see that all have ended.
    _, alive = psutil.wait_procs(left, timeout=10)
    assert alive == []


def semaphores(processes: Iterable[psutil.Process]) -> list[Path]:
    """Files of the named ones that these processes use."""
    maps = ""
    for process in processes:
        with suppress(OSError):
            maps += Path(f"/proc/{process.pid}/maps").read_text()
    return [Path(path) for path in set(re.findall(r"/dev/shm/sem\.mp-\w+", maps))]


@pytest.mark.slow
def test_a_killed_comparison_leaves_neither_processes_nor_semaphores(tmp_path: Path) -> None:
    process = start(
        tmp_path, "compare", "--engine", "engine.random_play:Queues", "--min-seconds", "99"
    )
    assert process.stderr is not None
    while "self-play on cpu" not in process.stderr.readline():
        assert process.poll() is None
    left = psutil.Process(process.pid).children(recursive=True)
    named = semaphores(left)
    assert len(named) >= 3
    process.kill()
    process.communicate(timeout=SECONDS)
    deadline = time.monotonic() + 5
    while [p for p in left if runs_on(p)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not [path for path in named if path.exists()]


def runs_on(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


# One process


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EngineProcess]]:
    """Starts an engine of the project; all are ended."""
    monkeypatch.chdir(PROJECT)
    processes: list[EngineProcess] = []

    def starting(factory: str, mode: str = "play", **arguments: Any) -> EngineProcess:
        offered = {"device": "cpu"} | arguments
        given = {name: {"value": value, "must": True} for name, value in offered.items()}
        processes.append(EngineProcess(factory, given, MODES[mode], dict(os.environ)))
        return processes[-1]

    yield starting
    for process in processes:
        process.close()


def test_an_engine_that_does_not_exit_leaves_no_semaphores(
    engine: Callable[..., EngineProcess],
) -> None:
    process = engine("engine.random_play:Queues")
    assert process.receive(SECONDS, "was not made") == ("ready",)
    deadline = time.monotonic() + SECONDS
    # Only a process that opens one by its name shows that name.
    while len(named := semaphores(process.seen.values())) < 3:
        assert time.monotonic() < deadline
        process.scan()
        time.sleep(0.05)
    process._answers = False  # as after a failure: it is killed
    process.close()
    assert not [path for path in named if path.exists()]


REFUSALS = {
    "no_such_module:make": "there is no module 'no_such_module' here",
    "engine.no_such:make": "there is no module 'engine.no_such' here",
    "engine.broken:no_such": "engine.broken has no 'no_such'",
    "engine.broken:not_callable": "not_callable of engine.broken cannot be called: it is a list",
    "engine.broken:no_device": "no_device() takes no 'device'",
    "engine.broken:wants_more": "wants_more() needs 'depth', and no option gives it",
    "engine.broken:no_methods": "what no_methods makes, an object, has no method play()",
    "engine.broken:leaves": "SystemExit: goodbye (broken.py, line ",
    "imports_nothing:make": (
        "ModuleNotFoundError: No module named 'a_package_that_is_not_there' "
        "(imports_nothing.py, line 3)"
    ),
}


@pytest.mark.parametrize("factory", REFUSALS)
def test_what_cannot_be_made_is_refused_in_a_line(
    engine: Callable[..., EngineProcess], factory: str
) -> None:
    with pytest.raises(UserError) as caught:
        engine(factory).receive(20, "was not made")
    assert str(caught.value).startswith(f"--engine: {REFUSALS[factory]}")
    assert "\n" not in str(caught.value)


def test_iteration_needs_a_method_that_trains(engine: Callable[..., EngineProcess]) -> None:
    with pytest.raises(UserError, match=r"a Steady, has no method train\(\)"):
        engine("engine.broken:Steady", "train").receive(20, "was not made")


def test_an_option_that_the_factory_does_not_take_is_refused(
    engine: Callable[..., EngineProcess],
) -> None:
    with pytest.raises(UserError, match=r"Steady\(\) takes no 'players'"):
        engine("engine.broken:Steady", players=4).receive(20, "was not made")


FAILURES = {
    "Raises": ("the engine failed: ZeroDivisionError: the fifth move", "one game was fine"),
    "Dies": ("the engine's process exited unexpectedly (killed by SIGKILL)", ""),
    "Exits": ("the engine's process exited unexpectedly (exit code 7)", ""),
    "Hangs": ("the engine finished no game for 0.5 s", ""),
    "Text": ("the engine failed: TypeError: 'str' object cannot be interpreted as an integer", ""),
    "Nothing": ("the engine failed: RuntimeError: play() ended without a finished game", ""),
    "NoIterator": ("the engine failed: TypeError: 'int' object is not iterable", ""),
    "Loud": ("the engine failed: RuntimeError: enough said", "game 1999 xxx"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_goes_wrong_in_play_is_a_line(engine: Callable[..., EngineProcess], name: str) -> None:
    process = engine(f"engine.broken:{name}")
    process.receive(20, "was not made")
    process.send("play")
    line, printed = FAILURES[name]
    with pytest.raises(EngineFailed) as caught:
        play_on(process, 0.5 if name == "Hangs" else 20)
    assert str(caught.value) == line
    assert printed in caught.value.details
    assert len(caught.value.details) < 25_000
    process.close()
    assert not psutil.pid_exists(process.pid)


def play_on(process: EngineProcess, patience: float) -> None:
    while True:
        process.receive(patience, "finished no game")


def test_our_own_package_is_not_imported_there(engine: Callable[..., EngineProcess]) -> None:
    """The project's `engine` is the one that is found."""
    process = engine("engine.random_play:OneProcess")
    process.receive(20, "was not made")
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "numba" not in maps


def test_arms_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one plays while the other is measured is nothing, its workers' play included."""
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr("blobdiag.targets.external.engine.WARM_UP_SECONDS", 0.5)
    settings = Settings(device="cpu", engine="engine.random_play:Pool", min_seconds=0.5)
    arms = [ExternalArm(settings, "cpu", ["play"]) for _ in range(2)]
    watched = set[int]()
    try:
        for arm in arms:
            arm.start(watched.update)
            arm.warm_up(lambda progress: None)
        for _ in range(2):
            for arm in arms:
                other = arms[1 - arms.index(arm)]
                before = cpu_seconds(other)
                arm.measure(0.5, 40, lambda progress: None)
                assert cpu_seconds(other) == before
                assert not arm.at_work
    finally:
        for arm in arms:
            arm.close()
    for arm in arms:
        assert len(arm.windows) == 2
        seen = arm.throughput()
        assert seen.games >= 80
        rate = seen.games_per_minute.value
        assert rate == pytest.approx(60 * seen.games / seen.window_seconds)
    turns = sorted(window for arm in arms for window in arm.windows)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(turns))
    assert len(watched) == 6
    assert not [pid for pid in watched if psutil.pid_exists(pid) and runs_on(psutil.Process(pid))]


def cpu_seconds(arm: ExternalArm) -> float:
    """Of all processes of an engine, that stands still."""
    assert arm._process is not None
    time.sleep(0.02)
    times = [process.cpu_times() for process in arm._process.seen.values()]
    return sum(one.user + one.system for one in times)


# Options


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "selfplay"}, "--engine must read MODULE:FACTORY"),
        ({"engine": "a:b:c"}, "--engine must read MODULE:FACTORY"),
        ({"engine": "a/b.py:make"}, "--engine must read MODULE:FACTORY"),
        ({"engine": "a:b", "given": frozenset({"lanes"})}, "--lanes is for the built-in engine"),
        ({"engine": "a:b", "given": frozenset({"inject"})}, "--inject is for the built-in engine"),
    ],
)
def test_options_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        replace(Settings(device="cpu"), **changes).check()
