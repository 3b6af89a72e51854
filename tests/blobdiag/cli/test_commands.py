"""The console script as a user runs it: real processes, real reports, real exit codes.

Only what is refused in many variants is refused in this process.

No run sees a GPU, whatever the machine has: CUDA_VISIBLE_DEVICES is empty.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from command_line import in_process

import reports
from blobdiag.model.base import Status
from blobdiag.model.judgement import Check
from blobdiag.model.output_format import Format
from blobdiag.model.report import SCHEMA_VERSION, Report
from blobdiag.model.report_files import read_report
from blobdiag.render.formats import text_of
from blobdiag.render.html import page
from engine.network.blobnet import NetworkConfig, build_network, weights_hash, weights_of

GAMES, MIN_SECONDS = 5, 1.0
NETWORK = NetworkConfig(32, 2, 4, 64)
SMALL = (
    *("--network", str(NETWORK), "--simulations", "6", "--determinizations", "2"),
    *("--lanes", "6", "--workers", "2", "--min-seconds", "1", "--games", str(GAMES)),
)
SECONDS = 240
"""More than any run takes, the first compilation of the kernels included."""


class Run(NamedTuple):
    """A command that has ended, and the report that it wrote."""

    code: int
    output: str
    errors: str
    text: str
    report: Report

    def check(self, name: str) -> Check:
        return next(check for check in self.report.checks if check.name == name)


def blobdiag(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `folder`, without colours and without a GPU."""
    forced = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")
    inherited = {name: value for name, value in os.environ.items() if name not in forced}
    return subprocess.run(
        [sys.executable, "-m", "blobdiag", *arguments],
        cwd=folder,
        env={**inherited, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def measured(folder: Path, *arguments: str) -> Run:
    """Run a measuring command; its report is where the last line of stdout says."""
    result = blobdiag(folder, *arguments)
    assert result.stdout, result.stderr
    path = folder / result.stdout.splitlines()[-1]
    report = read_report(path)
    assert report.exit_code == result.returncode
    assert "Traceback" not in result.stderr
    return Run(result.returncode, result.stdout, result.stderr, path.read_text(), report)


def flat(text: str) -> str:
    """Without the line breaks and frames of a drawn report."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("compare")
    run = measured(folder, "compare", "--device", "auto", *SMALL)
    assert str(folder) not in run.text
    return run


@pytest.fixture(scope="module")
def iterated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Long enough for a twentieth of it to be more than a sampling tick or a poll.

    20 simulations make self-play, and a reuse of 100 training, a matter of seconds.
    """
    folder = tmp_path_factory.mktemp("iteration")
    longer = ("--games", "150", "--simulations", "20", "--reuse", "100")
    return measured(folder, "iteration", *SMALL, *longer)


# compare


def test_compare_measures_what_there_is_and_succeeds(compared: Run) -> None:
    assert compared.code == 0
    assert compared.report.verdict is Status.NOT_APPLICABLE
    assert compared.report.verdict_text.startswith("The GPU was not tested: ")
    assert not compared.report.interrupted
    assert [t.device for t in compared.report.throughput] == ["cpu"]
    assert compared.check("GPU speed-up").status is Status.NOT_APPLICABLE
    assert "only the CPU was measured: " in compared.check("GPU speed-up").observation
    assert "sampler start" in compared.errors
    assert "self-play on cpu" in compared.errors


def test_the_window_is_as_long_as_was_asked(compared: Run) -> None:
    cpu = compared.report.throughput[0]
    assert cpu.games >= GAMES
    assert cpu.window_seconds >= MIN_SECONDS
    assert cpu.search_health.distinct_share is not None
    assert cpu.search_health.distinct_share >= 0.99
    assert cpu.search_health.trained_weights is False
    assert (cpu.workers, cpu.lanes) == (2, 12)
    assert [w.state for w in compared.report.workers] == ["finished", "finished"]


def test_blocks_rates_and_games_agree(compared: Run) -> None:
    """Three ways to count: evaluations of blocks, games finished, what workers say they did."""
    cpu = compared.report.throughput[0]
    seconds = sum(block.seconds for block in cpu.blocks)
    evaluations = sum(block.evaluations for block in cpu.blocks)
    assert seconds == pytest.approx(cpu.window_seconds)
    assert evaluations / seconds == pytest.approx(cpu.evaluations_per_second.value, rel=0.01)
    assert sum(block.games for block in cpu.blocks) == cpu.games
    assert sum(cpu.games_by_evaluations.values()) == cpu.games
    # Games in flight at either end of the window belong to it in part.
    per_minute = cpu.games / seconds * 60
    assert cpu.games_per_minute.value == pytest.approx(per_minute, rel=3 * cpu.lanes / cpu.games)
    assert 0 < evaluations < sum(worker.evaluations for worker in compared.report.workers)


def test_random_weights_are_those_of_the_seed(compared: Run) -> None:
    expected = weights_hash(weights_of(build_network(NETWORK, "cpu", seed=0)))
    assert {worker.weights_hash for worker in compared.report.workers} == {expected}


def test_a_report_says_nothing_of_whose_machine_it_was(compared: Run) -> None:
    host = socket.gethostname()
    assert not re.search(rf"(?<![\w.-]){re.escape(host)}(?![\w.-])", compared.text)
    assert os.path.expanduser("~") + os.sep not in compared.text
    assert compared.report.machine.label is None
    # A word of English, like root, can be a user's name: only whole values are looked at.
    values = re.findall(r'"((?:[^"\\]|\\.)*)"', compared.text)
    assert getpass.getuser() not in values
    assert not [value for value in values if re.match(r"/\w|[A-Z]:\\", value)]
    assert not re.search(r"(?<![\w.:/])/(home|root|tmp|usr|opt|Users|var)/", compared.text)


@pytest.mark.slow
def test_a_device_by_name_that_is_absent_is_inconclusive(tmp_path: Path) -> None:
    run = measured(tmp_path, "compare", "--device", "cuda", *SMALL)
    assert run.code == 3
    assert run.report.verdict is Status.INCONCLUSIVE
    assert run.report.workers == run.report.throughput == []
    assert re.search(r"cuda is not available: \w", run.report.verdict_text)
    assert re.search(r"cuda is not available: \w", flat(run.output))


@pytest.mark.slow
def test_a_checkpoint_is_played_with_and_quiet_prints_the_paths_only(tmp_path: Path) -> None:
    network = build_network(NETWORK, "cpu", seed=7)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    run = measured(
        tmp_path,
        *("compare", "--device", "cpu", "--quiet", *SMALL),
        *("--checkpoint", str(tmp_path / "weights.pt"), "--output", "mine.json", "--html"),
    )
    assert (run.code, run.output, run.errors) == (0, "mine.html\nmine.json\n", "")
    assert (tmp_path / "mine.html").read_text() == page(run.report)
    assert run.report.throughput[0].search_health.trained_weights is True
    expected = weights_hash(weights_of(network))
    assert {worker.weights_hash for worker in run.report.workers} == {expected}
    assert run.report.configuration["checkpoint"] == "weights.pt"
    assert str(tmp_path) not in run.text


# check-gpu


def test_check_gpu_without_a_gpu_is_inconclusive_and_says_why(tmp_path: Path) -> None:
    run = measured(tmp_path, "check-gpu", *SMALL)
    assert run.code == 3
    assert run.report.verdict is Status.INCONCLUSIVE
    assert re.search(r"cuda is not available: \w", flat(run.output))
    assert run.check("workers on the device").status is Status.PASS
    assert run.check("self-play GPU utilisation").status is Status.INCONCLUSIVE
    assert [w.parameter_devices for w in run.report.workers] == [["meta"], ["meta"]]
    assert run.report.findings == []


def test_check_gpu_finds_the_bug_that_is_injected(tmp_path: Path) -> None:
    run = measured(tmp_path, "check-gpu", *SMALL, "--inject", "device-not-propagated")
    assert run.code == 1
    assert run.report.verdict is Status.FAIL
    assert run.check("workers on the device").status is Status.FAIL
    [finding] = run.report.findings
    assert finding.name == "device-not-propagated"
    assert [w.parameter_devices for w in run.report.workers] == [["cpu"], ["cpu"]]
    for worker in run.report.workers:
        assert any(f"pid {worker.pid}" in line for line in finding.evidence)
    shown = flat(run.output)
    for text in (finding.title, finding.cause, finding.remedy):
        assert flat(text) in shown
    assert "network.to(device)" in finding.remedy


# iteration


def test_an_iteration_accounts_for_all_of_its_time(iterated: Run) -> None:
    report = iterated.report
    assert iterated.code == 0
    names = [phase.name for phase in report.phases]
    ours = ["self-play", "replay buffer", "training", "weight refresh"]
    assert [name for name in names if name in ours] == ours
    assert report.seconds > 4
    assert sum(phase.seconds for phase in report.phases) == pytest.approx(report.seconds, rel=0.05)
    for earlier, later in zip(report.phases, report.phases[1:], strict=False):
        assert earlier.end_s <= later.start_s
    for name in ("self-play", "training"):
        assert next(p for p in report.phases if p.name == name).seconds > 0.5


def test_an_iteration_plans_with_what_it_measured(iterated: Run) -> None:
    plan = iterated.report.plan
    assert plan is not None
    assert (plan.iterations, plan.games_per_iteration, plan.reuse) == (500, 10_000, 100)
    terms = {term.name: term.minutes for term in plan.terms}
    assert sum(terms.values()) == pytest.approx(plan.minutes_per_iteration)
    assert sum(term.share for term in plan.terms) == pytest.approx(1)
    assert plan.days == pytest.approx(plan.minutes_per_iteration * 500 / 1440)
    rate = iterated.report.throughput[0].games_per_minute.value
    assert rate is not None
    assert terms["self-play"] == pytest.approx(10_000 / rate)
    figures = {metric.name: metric.value for metric in iterated.report.metrics}
    examples, speed = figures["examples made"], figures["examples per second"]
    assert examples is not None
    assert speed is not None
    assert terms["training"] == pytest.approx(10_000 * examples / 150 * 100 / speed / 60)


def test_a_plan_from_the_report_is_the_reports_own(tmp_path: Path, iterated: Run) -> None:
    (tmp_path / "saved.json").write_text(iterated.text)
    asked = ("plan", "saved.json", "--format", "json", "--accept-invalid")
    result = blobdiag(tmp_path, *asked)
    assert (result.returncode, result.stderr) == (0, "")
    [machine] = json.loads(result.stdout)["machines"]
    assert machine["plan"] == json.loads(iterated.text)["plan"]


def test_a_plan_without_a_report_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    assert_refused(blobdiag(tmp_path, "plan", "missing.json"), "missing.json")


def test_an_iteration_trains_and_hands_the_weights_on(iterated: Run) -> None:
    figures = {metric.name: metric.value or 0.0 for metric in iterated.report.metrics}
    assert figures["games played"] == 150
    assert figures["each example trained on"] == pytest.approx(100, rel=0.01)
    assert figures["loss of the last tenth"] < figures["loss of the first tenth"]
    [newest] = {worker.weights_hash for worker in iterated.report.workers}
    assert newest != weights_hash(weights_of(build_network(NETWORK, "cpu", seed=0)))


# Bad input

REFUSED = {
    "malformed device": (["--device", "gpu"], "--device"),
    "malformed ordinal": (["--device", "cuda:x"], "--device"),
    "no device": (["--device", ""], "--device"),
    "nine players": (["--players", "9"], "players"),
    "fourteen cards": (["--cards", "14"], "cards"),
    "more cards than there are": (["--players", "8", "--cards", "7"], "cards"),
    "no games": (["--games", "0"], "--games"),
    "no lanes": (["--lanes", "0"], "--lanes"),
    "no planned games": (["--plan-games", "0"], "--plan-games"),
    "half a network": (["--network", "32-2-4"], "network"),
    "heads that do not divide": (["--network", "32-2-5-64"], "heads"),
    "missing checkpoint": (["--checkpoint", "missing.pt"], "no such file"),
    "a text as checkpoint": (["--checkpoint", "text.pt"], "not a file of weights"),
    "a folder as checkpoint": (["--checkpoint", "."], "not a file of weights"),
    "a number as checkpoint": (["--checkpoint", "number.pt"], "it holds a Tensor, not a dict"),
    "checkpoint of another shape": (["--checkpoint", "other.pt"], "do not fit"),
    "a pickle bomb as checkpoint": (["--checkpoint", "bomb.pt"], "not a file of weights"),
    "no range expected": (["--expect", "speed-up"], "--expect"),
    "unknown expectation": (["--expect", "beauty=1..2"], "--expect"),
    "range upside down": (["--expect", "speed-up=5..3"], "--expect"),
    "unknown injection": (["--inject", "gremlins"], "--inject"),
    "unknown dtype": (["--dtype", "float16"], "--dtype"),
    "no seconds": (["--min-seconds", "0"], "--min-seconds"),
    "not a number of seconds": (["--min-seconds", "nan"], "--min-seconds"),
    "seconds without end": (["--min-seconds", "inf"], "--min-seconds"),
    "no reuse": (["--reuse", "0"], "--reuse"),
    "no time": (["--timeout", "0"], "--timeout"),
    "time without end": (["--timeout", "inf"], "--timeout"),
    "a page over the report": (["--output", "new.html", "--html"], "new.html"),
    "a page that exists": (["--output", "page.json", "--html"], "page.html"),
    "output that exists": (["--output", "taken.json"], "taken.json"),
    "output below a file": (["--output", "text.pt/report.json"], "text.pt"),
}


class Bomb:
    """Pickled, it creates a file as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder with files that are not what they are taken for."""
    (tmp_path / "text.pt").write_text("no weights\nat all\n")
    (tmp_path / "taken.json").write_text("precious")
    (tmp_path / "page.html").write_text("precious too")
    torch.save(torch.zeros(3), tmp_path / "number.pt")
    other = build_network(NetworkConfig(48, 2, 4, 64), "cpu")
    torch.save(other.state_dict(), tmp_path / "other.pt")
    torch.save({"embedding.weight": Bomb(tmp_path / "exploded")}, tmp_path / "bomb.pt")
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(result: subprocess.CompletedProcess[str], words: str) -> None:
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_one_line_and_exit_code_2(
    prepared: Path, arguments: Sequence[str], words: str
) -> None:
    before = contents(prepared)
    assert_refused(in_process(prepared, "compare", *SMALL, *arguments), words)
    assert contents(prepared) == before


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check-gpu", "iteration"])
def test_the_other_commands_refuse_the_same(prepared: Path, command: str) -> None:
    before = contents(prepared)
    assert_refused(blobdiag(prepared, command, *SMALL, "--players", "9"), "players")
    assert_refused(in_process(prepared, command, *SMALL, "--device", "gpu"), "--device")
    assert contents(prepared) == before


def test_the_bomb_is_live(prepared: Path) -> None:
    """A bomb that cannot explode would prove nothing."""
    torch.load(prepared / "bomb.pt", weights_only=False)["embedding.weight"].close()
    assert (prepared / "exploded").exists()


def test_an_option_that_is_no_number_is_a_usage_error(tmp_path: Path) -> None:
    result = blobdiag(tmp_path, "compare", "--games", "many")
    assert result.returncode == 2
    assert "--games" in result.stderr
    assert "Traceback" not in result.stderr


def beside_another_engine(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where `folder`/elsewhere comes before everything else in Python's path."""
    old = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([str(folder / "elsewhere"), *filter(None, [old])])
    return blobdiag(folder, command, *SMALL, "--device", "cuda", PYTHONPATH=path)


@pytest.mark.slow
def test_another_package_named_engine_is_named(tmp_path: Path) -> None:
    """Three commands at once: each has torch to import before it can say so."""
    other = tmp_path / "elsewhere" / "engine"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("VERSION = 'of somebody else'\n")
    with ThreadPoolExecutor() as pool:
        commands = ("compare", "check-gpu", "iteration")
        results = list(pool.map(lambda name: beside_another_engine(tmp_path, name), commands))
    for result in results:
        assert_refused(result, "another package named 'engine'")
        assert str(other) in result.stderr
    assert not (tmp_path / "reports").exists()


@pytest.mark.slow
def test_a_bare_folder_named_engine_is_named_or_does_no_harm(tmp_path: Path) -> None:
    """Which of the two depends on how blobdiag is installed: Python takes it for a package last."""
    other = tmp_path / "elsewhere" / "engine"
    other.mkdir(parents=True)
    result = beside_another_engine(tmp_path, "compare")
    if result.returncode != 3:
        assert_refused(result, "another package named 'engine'")
        assert str(other) in result.stderr


# Saved reports


def newer() -> str:
    data = json.loads(reports.minimal().model_dump_json())
    return json.dumps(data | {"schema_version": SCHEMA_VERSION + 1})


NO_REPORTS = {
    "not JSON": ("{never closed", "is not JSON"),
    "JSON that is no report": ('{"games": 20}', "is not a blobdiag report"),
    "a list": ("[1, 2]", "is not a blobdiag report"),
    "of a newer blobdiag": (newer(), f"schema version {SCHEMA_VERSION + 1}"),
    "half a report": ('{"schema_version": 1, "command": "compare"}', "is not a valid report"),
    "cut off": (reports.full().model_dump_json()[:-9], "is not JSON"),
    "empty": ("", "is not JSON"),
}


@pytest.mark.parametrize("command", ["show", "validate", "trace"])
@pytest.mark.parametrize(("text", "words"), NO_REPORTS.values(), ids=NO_REPORTS.keys())
def test_what_is_no_report_is_refused(tmp_path: Path, command: str, text: str, words: str) -> None:
    (tmp_path / "it.json").write_text(text)
    assert_refused(in_process(tmp_path, "report", command, "it.json"), words)


def test_a_saved_report_is_drawn_as_when_it_was_measured(tmp_path: Path, compared: Run) -> None:
    (tmp_path / "saved.json").write_text(compared.text)
    shown = blobdiag(tmp_path, "report", "show", "saved.json")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == compared.output.splitlines()[:-1]
    valid = blobdiag(tmp_path, "report", "validate", "saved.json")
    assert (valid.returncode, valid.stderr) == (0, "")
    assert valid.stdout == f"saved.json: valid report of schema version {SCHEMA_VERSION}\n"


def test_a_folder_of_reports_is_listed(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "it.json").write_text(reports.full().model_dump_json())
    (tmp_path / "reports" / "broken.json").write_text("{")
    listed = blobdiag(tmp_path, "report", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "iteration on cuda:0: FAIL" in listed.stdout
    assert "not read: reports/broken.json is not JSON" in listed.stdout
    assert_refused(blobdiag(tmp_path, "report", "list", "nowhere"), "nowhere is not a folder")


@pytest.mark.parametrize("form", Format)
def test_a_saved_report_can_be_shown_in_each_form(
    tmp_path: Path, compared: Run, form: Format
) -> None:
    (tmp_path / "saved.json").write_text(compared.text)
    shown = blobdiag(tmp_path, "report", "show", "saved.json", "--format", form)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == text_of(compared.report, form)
