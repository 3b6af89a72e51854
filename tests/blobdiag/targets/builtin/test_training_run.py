"""`blobdiag iteration --run-dir`: interrupted, resumed, reported, and refused in one line."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from command_line import in_process
from safetensors import numpy

import reports
from blobdiag.diagnosis.rates import rates_of
from blobdiag.model.base import Metric
from blobdiag.model.errors import UserError
from blobdiag.model.iteration_settings import IterationSettings
from blobdiag.model.recorded import Phase
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.model.settings import Settings
from blobdiag.render.html import page
from blobdiag.sampling.trace import Span, Trace
from blobdiag.targets.builtin.iterations import LONGEST_MEASURED, MOST_MEASURED, BuiltInIterations
from blobdiag.targets.builtin.run_configuration import RunConfiguration, training_settings
from blobdiag.targets.builtin.run_folder import TrainingJob, training_job
from blobdiag.targets.builtin.weights import load_network
from engine.network.blobnet import weights_hash, weights_of
from engine.search.lanes import TALLY, SearchConfig
from engine.training.checkpoint import CheckpointError, read_about, read_arrays, write_arrays
from engine.training.iterations import TrainingSettings
from engine.training.pipeline import IterationResult
from engine.training.run_folder import RunFolder
from engine.training.trainer import TrainingResult

SMALL = (
    *("--device", "cpu", "--network", "32-2-4-64", "--determinizations", "2", "--lanes", "6"),
    *("--simulations", "6", "--dtype", "float32", "--workers", "1", "--games", "24"),
)
SECONDS = 120


def run_settings(folder: Path, **changes: Any) -> IterationSettings:
    values = {"resume": True, "deals": 6, "given": frozenset(changes), **changes}
    made = IterationSettings(run_dir=folder, **values)
    made.check()
    return made


class Ended(NamedTuple):
    code: int
    output: str
    errors: str
    report: Report


class Trained(NamedTuple):
    """A run that was interrupted, and resumed until it was done."""

    folder: Path
    interrupted: Ended
    resumed: Ended


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "blobdiag", "iteration", *arguments]


def ended(folder: Path, code: int, output: str, errors: str) -> Ended:
    assert output, errors
    report = read_report(folder / output.splitlines()[-1])
    assert report.exit_code == code
    assert "Traceback" not in errors
    return Ended(code, output, errors, report)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("training")
    log = folder / "stderr.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command(*SMALL, "--run-dir", "run", "--iterations", "400"),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS
        while "self-play, iteration 3 of 400 …" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)
        at = time.monotonic()
        output, _ = process.communicate(timeout=SECONDS)
        assert time.monotonic() - at < 10
    first = ended(folder, process.returncode, output, log.read_text())
    done = len((folder / "run" / "metrics.jsonl").read_text().splitlines())
    second = subprocess.run(
        command("--run-dir", "run", "--resume", "--iterations", str(done + 2)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Trained(
        folder / "run", first, ended(folder, second.returncode, second.stdout, second.stderr)
    )


def test_an_interrupted_training_leaves_a_report_and_can_be_resumed(trained: Trained) -> None:
    first = trained.interrupted
    assert first.code == 130
    assert first.report.interrupted
    assert first.report.training is not None
    done = len(first.report.training.iterations)
    assert done >= 2
    second = trained.resumed.report.training
    assert not trained.resumed.report.interrupted
    assert second is not None
    assert (second.taken_up_at, second.wanted) == (done, done + 2)
    assert [one.iteration for one in second.iterations] == list(range(1, done + 3))
    assert second.iterations[:done] == first.report.training.iterations
    # Settings come from the folder; the report lies in it.
    assert trained.resumed.report.configuration["games"] == 24
    assert len(list((trained.folder / "reports").glob("*.json"))) == 2
    assert f"training, iteration {done + 1} of {done + 2} …" in trained.resumed.errors


def test_the_report_tells_of_staleness_and_reuse(trained: Trained) -> None:
    report = trained.resumed.report
    run = report.training
    assert run is not None
    iterations = len(run.iterations)
    assert all(one.weights_ages == {0: 24} for one in run.iterations)
    examples = sum(one.examples for one in run.iterations)
    assert run.examples_by_age == {
        iterations - one.iteration: one.examples for one in reversed(run.iterations)
    }
    assert sum(run.examples_by_uses.values()) == examples
    uses = sum(times * many for times, many in run.examples_by_uses.items())
    assert uses == 512 * sum(one.steps for one in run.iterations)
    assert run.iterations[-1].mean_uses == pytest.approx(uses / examples)
    shown = " ".join(trained.resumed.output.split())
    title = f"Training: {iterations} of {iterations} iterations, {iterations - 2} of them before"
    assert title in shown
    assert f"mean 0, 0 to 0, of {24 * iterations} games" in shown
    assert title in page(report)


def test_the_metrics_are_a_line_an_iteration(trained: Trained) -> None:
    lines = (trained.folder / "metrics.jsonl").read_text().splitlines()
    run = trained.resumed.report.training
    assert run is not None
    assert [json.loads(line)["weights_hash"] for line in lines] == [
        one.weights_hash for one in run.iterations
    ]


def test_a_network_of_the_run_can_be_played_with(trained: Trained) -> None:
    run = trained.resumed.report.training
    assert run is not None
    last = run.iterations[-1]
    path = trained.folder / "networks" / f"{last.iteration:06}.safetensors"
    network = load_network(Settings(checkpoint=path, network="32-2-4-64"))
    assert weights_hash(weights_of(network)) == last.weights_hash
    with pytest.raises(UserError, match="do not fit --network 32-3-4-64"):
        load_network(Settings(checkpoint=path, network="32-3-4-64"))


def test_what_an_iteration_costs_is_its_share_of_all_of_them() -> None:
    """Three iterations of 100 games in 10 s of phases each."""
    starts = {"saving games": 1.0, "replay buffer": 2.0, "checkpoint": 3.0, "weight refresh": 4.0}
    phases = [
        Phase(name=name, start_s=10 * k + start, end_s=10 * k + start + 0.1 * start)
        for k in range(3)
        for name, start in starts.items()
    ]
    counted = {"iterations measured": 3, "games played": 300, "examples made": 4500}
    metrics = [Metric(name=n, value=v, unit="", samples=1) for n, v in counted.items()]
    rates = rates_of(reports.throughput(), metrics, phases)
    assert rates.game_seconds == pytest.approx({"saving games": 0.001, "replay buffer": 0.002})
    del rates.iteration_seconds["ramp-up and last wave"]
    assert rates.iteration_seconds == pytest.approx({"checkpoint": 0.3, "weight refresh": 0.4})


def test_an_iteration_that_was_cut_short_is_in_no_rate() -> None:
    """Two iterations of 60 s of self-play, then 500 s of a third."""
    phases = [
        Phase(name=name, start_s=100 * k + start, end_s=100 * k + start + seconds)
        for k in range(2)
        for name, start, seconds in (
            ("self-play", 0, 60),
            ("saving games", 60, 2),
            ("replay buffer", 62, 2),
            ("weight refresh", 98, 2),
        )
    ]
    counted = {"iterations measured": 2, "games played": 200, "examples made": 3000}
    metrics = [Metric(name=n, value=v, unit="", samples=1) for n, v in counted.items()]
    whole = rates_of(reports.throughput(), metrics, phases)
    cut = [Phase(name=name, start_s=200, end_s=700) for name in ("self-play", "saving games")]
    assert rates_of(reports.throughput(), metrics, [*phases, *cut]) == whole


def test_matches_are_planned_as_often_as_they_are_asked_for() -> None:
    """Two rounds of 20 s in three iterations: every second one, and the last."""
    phases = [Phase(name="evaluation", start_s=start, end_s=start + 20) for start in (100, 200)]
    phases += [Phase(name="replay buffer", start_s=0, end_s=1)]
    phases += [Phase(name="weight refresh", start_s=start, end_s=start + 1) for start in (0, 220)]
    counted = {
        "iterations measured": 3,
        "games played": 300,
        "examples made": 4500,
        "iterations between matches": 2,
    }
    metrics = [Metric(name=n, value=v, unit="", samples=1) for n, v in counted.items()]
    rates = rates_of(reports.throughput(), metrics, phases)
    assert rates.iteration_seconds["evaluation, one in 2"] == pytest.approx(10)


# -- what is refused ------------------------------------------------------------------------------


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").iterdir())


def another_network(folder: Path) -> None:
    arrays, about = read_arrays(newest(folder))
    arrays["network/embedding.bias"] = np.zeros(99, np.float32)
    write_arrays(newest(folder), arrays, about)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-64])


NO_DEALS = {
    "deals": 0,
    "difference": 0.0,
    "standard_error": 0.1,
    "exact_bids": 0.5,
    "opponents_exact_bids": 0.5,
}


def flip(path: Path, seed: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(seed).randrange(len(content) // 2, len(content))] ^= 4
    path.write_bytes(content)


def measured(folder: Path, changed: Callable[[dict[str, Any]], object]) -> None:
    """The first line of the metrics in another way."""
    path = folder / "metrics.jsonl"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{json.dumps(changed(json.loads(first)))}\n{rest}")


def unsealed(line: dict[str, Any]) -> dict[str, Any]:
    """As earlier versions wrote it: without a checksum."""
    return {name: value for name, value in line.items() if name != "sha256"}


def renewed(folder: Path, **changes: object) -> None:
    arrays, about = read_arrays(newest(folder))
    write_arrays(newest(folder), arrays, about | changes)


def not_finite(folder: Path) -> None:
    arrays, about = read_arrays(newest(folder))
    arrays["network/embedding.bias"][3] = np.nan
    write_arrays(newest(folder), arrays, about)


def replaced(path: Path, made: Callable[[Path], object]) -> None:
    path.unlink()
    made(path)


def piped(path: Path) -> None:
    replaced(path, os.mkfifo)


def reconfigured(folder: Path, **changes: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


REFUSED: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "another network": (another_network, {}, "weights do not fit a network 32-2-4-64"),
    "cut off": (lambda f: cut(newest(f)), {}, "it is damaged, or of another kind"),
    "games cut off": (lambda f: cut(max((f / "games").iterdir())), {}, "it is damaged"),
    "a pickle bomb": (
        lambda f: newest(f).write_bytes(pickle.dumps(Bomb(f / "mark"))),
        {},
        "it is damaged, or of another kind",
    ),
    "of no iteration": (
        lambda f: write_arrays(newest(f), read_arrays(newest(f)).arrays, {}),
        {},
        "iteration is missing",
    ),
    "no run": (lambda f: (f / "run.json").unlink(), {}, "holds no training run"),
    "a run already": (lambda f: None, {"resume": False}, "--resume goes on with it"),
    "a text": (lambda f: (f / "run.json").write_text("{"), {}, "is no configuration of a run"),
    "no games": (lambda f: reconfigured(f, games=0), {}, "--games must be at least 1"),
    "no number": (lambda f: reconfigured(f, games="x"), {}, "games: Input should be"),
    "a newer one": (lambda f: reconfigured(f, version=2), {}, "version: Input should be 1"),
    "other games": (lambda f: None, {"games": 25}, r"--games: the run in .* has 24"),
    "a bit of a checkpoint": (lambda f: flip(newest(f)), {}, r"checkpoints/.*: it is damaged"),
    "a bit of an older one": (
        lambda f: flip(min((f / "checkpoints").iterdir())),
        {},
        r"checkpoints/.*: it is damaged",
    ),
    "a bit of games": (lambda f: flip(min((f / "games").iterdir())), {}, "games/.*: it is damaged"),
    "a bit of a network": (
        lambda f: flip(max((f / "networks").iterdir())),
        {},
        "networks/.*: it is damaged: its SHA-256 is not the one it was written with",
    ),
    "a number of the metrics": (
        lambda f: measured(f, lambda line: line | {"games": line["games"] + 1}),
        {},
        "metrics.jsonl: line 1 is damaged: its SHA-256",
    ),
    "a text in the metrics": (
        lambda f: measured(f, lambda line: unsealed(line) | {"steps": "three"}),
        {},
        r"metrics.jsonl: line 1: steps is 'three', not a whole number",
    ),
    "too few metrics": (
        lambda f: measured(f, lambda line: {"iteration": 1}),
        {},
        "metrics.jsonl: line 1: games is missing",
    ),
    "too long a number": (
        lambda f: measured(f, lambda line: unsealed(line) | {"steps": 10**400}),
        {},
        "steps is a number of more than 64 bits",
    ),
    "no number at all": (
        lambda f: measured(f, lambda line: unsealed(line) | {"policy_loss": float("nan")}),
        {},
        "policy_loss is nan, not a number or null",
    ),
    "a list as metrics": (lambda f: measured(f, lambda line: [1]), {}, "metrics.jsonl is damaged"),
    "a match of no deals": (
        lambda f: measured(f, lambda line: unsealed(line) | {"matches": {"rules": NO_DEALS}}),
        {},
        "the match against 'rules' has no deals",
    ),
    "a step that is a text": (lambda f: renewed(f, step="3"), {}, "step is '3', not a whole"),
    "no sampler": (lambda f: renewed(f, sampler={"a": 1}), {}, "random generator"),
    "no number of examples": (lambda f: renewed(f, added=None), {}, "added is None, not a whole"),
    "weights that are not finite": (not_finite, {}, "embedding.bias holds NaN or infinite"),
    "a pipe as checkpoint": (lambda f: piped(newest(f)), {}, "is no regular file"),
    "a pipe as games": (lambda f: piped(max((f / "games").iterdir())), {}, "is no regular file"),
    "a pipe as metrics": (lambda f: piped(f / "metrics.jsonl"), {}, "is no regular file"),
    "a pipe as configuration": (lambda f: piped(f / "run.json"), {}, "is no regular file"),
    "a folder as network": (
        lambda f: replaced(max((f / "networks").iterdir()), Path.mkdir),
        {},
        "is no regular file",
    ),
    "a pipe as lock": (lambda f: piped(f / "lock"), {}, "lock is no regular file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_gone_on_with_is_one_line_and_stays_as_it_is(
    trained: Trained, tmp_path: Path, case: str
) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    damage, changes, words = REFUSED[case]
    damage(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    settings = run_settings(folder, **{"iterations": 999} | changes)
    with (
        pytest.raises(UserError, match=words) as caught,
        training_job(settings),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {**before, folder / "lock": b""} == {**after, folder / "lock": b""}
    assert not (folder / "mark").exists()


def without_checksums(folder: Path) -> None:
    """As an earlier version left it."""
    for path in folder.rglob("*.safetensors"):
        about = read_about(path)
        numpy.save_file(read_arrays(path).arrays, path, {"about": json.dumps(about)})
    measured(folder, unsealed)


def test_a_folder_of_an_earlier_version_can_be_resumed_and_it_is_said(
    trained: Trained, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    without_checksums(folder)
    with training_job(run_settings(folder, iterations=999)) as job:
        [note] = job.notes
        assert re.fullmatch(r".*/run: \d+ files have no SHA-256, as an earlier version .*", note)
        assert job.finished is None
    with training_job(run_settings(trained.folder, iterations=999)) as job:
        assert job.notes == ()


def test_a_lost_end_of_the_metrics_is_said(trained: Trained, tmp_path: Path) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:-1]) + lines[-1].rstrip("\n"))
    with training_job(run_settings(folder, iterations=999)) as job:
        [note] = job.notes
        assert f"metrics.jsonl lacks iteration {len(lines)}" in note


def test_a_training_killed_after_its_last_checkpoint_gets_its_report(
    trained: Trained, tmp_path: Path
) -> None:
    """As it is left by a kill between the last checkpoint and the report."""
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    shutil.rmtree(folder / "reports")
    files = {path: path.read_bytes() for path in folder.rglob("*.safetensors")}
    done = in_process(tmp_path, "iteration", "--run-dir", "run", "--resume")
    assert done.stderr.startswith("blobdiag: the run in run has done its ")
    [path] = (folder / "reports").glob("*.json")
    report = read_report(path)
    assert done.returncode == report.exit_code, done.stderr
    before = trained.resumed.report.training
    assert report.training is not None
    assert before is not None
    assert report.training.iterations == before.iterations
    assert report.training.taken_up_at == report.training.wanted == len(before.iterations)
    assert any("has done its" in event.text for event in report.events)
    assert {path: path.read_bytes() for path in folder.rglob("*.safetensors")} == files
    with training_job(run_settings(folder, iterations=2)) as job:
        assert job.finished is not None
        assert job.finished.wanted == len(before.iterations)


@pytest.mark.parametrize("named", ["", "."])
def test_the_current_folder_is_no_folder_of_a_training(
    tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = in_process(tmp_path, "iteration", "--run-dir", named)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "--run-dir is empty, or the current folder: name a folder" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    for inside in ("thesis.tex", "checkpoints/model.pt", "src/a.py", "run.json.old"):
        folder = tmp_path / inside.replace("/", "-")
        path = folder / inside
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        settings = run_settings(folder, resume=False)
        with (
            pytest.raises(UserError, match=r"not empty and holds no training"),
            training_job(settings),
        ):
            pass
        assert [one for one in folder.rglob("*") if one.is_file()] == [path]


def test_a_folder_where_a_training_was_about_to_begin_is_taken(tmp_path: Path) -> None:
    with RunFolder(tmp_path):
        pass
    for name in (".hidden", "log.txt", "run.json.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "checkpoints" / "000000-000000.safetensors").touch()
    with training_job(run_settings(tmp_path, resume=False)) as job:
        assert job.folder is not None


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    for name in ("run.json.tmp", "lock"):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        (tmp_path / "mine").write_text("mine")
        (folder / name).symlink_to(tmp_path / "mine")
        with suppress(CheckpointError), RunFolder(folder) as opened:
            opened.configure("{}")
        assert (tmp_path / "mine").read_text() == "mine"


def test_a_folder_in_use_is_refused_and_names_the_process(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path),
        pytest.raises(UserError, match=rf"in use by another process \(pid {os.getpid()}\)"),
        training_job(run_settings(tmp_path, resume=False)),
    ):
        pass


def test_what_is_of_the_machine_may_change(trained: Trained, tmp_path: Path) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    settings = run_settings(folder, iterations=999, lanes=9)
    with training_job(settings) as kept:
        assert (kept.settings.lanes, kept.settings.workers) == (9, 1)
        assert (kept.settings.games, kept.settings.iterations) == (24, 999)
        assert kept.training_dtype == "float32"


BAD_OPTIONS = {
    "no iterations": ({"iterations": 0}, "--iterations must be at least 1"),
    "no rate": ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
    "too much noise": ({"root_noise": 1.5}, "--root-noise must be from 0 to 1, not 1.5"),
    "no name": ({"schedule": ("lanes=1..2",)}, "--schedule 'lanes=1..2' must be NAME=FIRST"),
    "no range": ({"schedule": ("games=5",)}, "--schedule"),
    "from nothing": ({"schedule": ("games=0..5",)}, "--schedule"),
    "too many": ({"schedule": ("simulations=1..99999",)}, "at most 32,000"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_one_line(tmp_path: Path, case: str) -> None:
    changes, words = BAD_OPTIONS[case]
    with pytest.raises(UserError, match=words):
        run_settings(tmp_path, **changes)
    with pytest.raises(UserError, match="--resume needs --run-dir"):
        replace(run_settings(tmp_path), run_dir=None).check()


def test_a_schedule_reaches_the_engine(tmp_path: Path) -> None:
    made = run_settings(tmp_path, schedule=("games=10..90", "window=5..500000"), iterations=9)
    assert training_settings(made).games == (10, 90)
    assert training_settings(made).window == (5, 500_000)
    assert training_settings(made).simulations is None


def test_root_noise_reaches_the_engine_and_its_folder(tmp_path: Path) -> None:
    made = run_settings(tmp_path, root_noise=0.1)
    assert training_settings(made).root_noise == 0.1
    kept = RunConfiguration.of(made, "float32").model_dump(exclude={"root_noise"})
    assert RunConfiguration.of(made, "float32").root_noise == 0.1
    older = RunConfiguration(**kept)
    assert older.root_noise == TrainingSettings().root_noise == SearchConfig().noise_share


def test_matches_reach_the_engine_and_may_be_asked_for_later(tmp_path: Path) -> None:
    made = run_settings(tmp_path, evaluate_every=5, deals=40)
    training = training_settings(made)
    assert (training.evaluate_every, training.deals) == (5, 40)
    assert made.plays_matches
    kept = RunConfiguration.of(made, "float32")
    assert training_settings(kept.resumed(run_settings(tmp_path))).evaluate_every == 5
    later = kept.resumed(run_settings(tmp_path, evaluate_every=2))
    assert (training_settings(later).evaluate_every, training_settings(later).deals) == (2, 40)
    without = kept.model_dump(exclude={"evaluate_every", "deals"})
    assert RunConfiguration(**without).evaluate_every is None, "as runs of before have it"


def test_deals_without_matches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--deals needs --evaluate-every"):
        run_settings(tmp_path, deals=9, resume=False)


@pytest.mark.parametrize("name", ["evaluate_every", "deals"])
def test_matches_that_cannot_be_are_one_line(tmp_path: Path, name: str) -> None:
    option = name.replace("_", "-")
    with pytest.raises(UserError, match=f"--{option} must be at least 1, not 0"):
        run_settings(tmp_path, **{name: 0})


# -- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 4 MiB: room for two checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
        try:
            mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("mount is not there")
        if mounted.returncode:
            pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line(small_disk: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        command(
            *SMALL,
            *("--run-dir", str(small_disk / "run"), "--iterations", "50"),
            *("--output", "report.json"),
        ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 3, result.stderr
    report = read_report(tmp_path / "report.json")
    assert "No space left on device." in report.verdict_text
    assert report.verdict_text.startswith("cannot write ")
    with RunFolder(small_disk / "run") as folder:
        folder.check()
        assert folder.newest_checkpoint is not None
        read_arrays(folder.newest_checkpoint)


# -- a training of weeks --------------------------------------------------------------------------


def test_a_long_training_keeps_the_measurement_of_its_newest_iterations(tmp_path: Path) -> None:
    settings = run_settings(tmp_path, device="cpu", network="32-2-4-64", workers=1)
    network = load_network(settings)
    course, trace = BuiltInIterations(TrainingJob(settings), network, "cpu"), Trace()
    arm = course.arm
    record = IterationResult(None, [], TrainingResult(0, 0, 0.0, []))  # type: ignore[arg-type]
    course._begun.append(100.0)
    trace.spans.append(Span("set-up", 90.0, 100.0))

    def iterate(seconds: float) -> None:
        begun, end = course._begun[-1], course._begun[-1] + seconds
        trace.spans.append(Span("self-play", begun, end))
        trace.add("host/cpu", "%", begun, 50.0)
        arm.add_window(begun, end, np.zeros((), TALLY))
        course._trainings.append([end])
        course._results.append(record)
        course._begun.append(end)
        course._forget(trace)

    for _ in range(MOST_MEASURED + 3):
        iterate(60.0)
    assert (len(course._results), course._forgotten) == (MOST_MEASURED, 3)
    assert len(course._trainings) == len(arm.windows) == MOST_MEASURED
    assert [span.start for span in trace.spans[:2]] == [90.0, 100.0 + 3 * 60]
    assert trace.samples["host/cpu"].times[0] == 100.0 + 3 * 60
    iterate(2 * LONGEST_MEASURED)
    assert len(course._results) == len(arm.windows) == 1
    assert [span.name for span in trace.spans] == ["set-up", "self-play"]
