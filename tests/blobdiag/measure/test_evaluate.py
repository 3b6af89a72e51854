"""`blobdiag evaluate`, and the matches of a training: played, shown, cut short, refused."""

from __future__ import annotations

import inspect
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.numpy
import torch
from command_line import in_process

import reports
from blobdiag.cli.evaluate import evaluate as command
from blobdiag.diagnosis.commands.evaluate import judge
from blobdiag.model.base import Status
from blobdiag.model.evaluation_settings import EvaluationSettings
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.render.html import page
from blobdiag.render.markdown import document
from blobdiag.targets.builtin.matches import match_record
from engine.matches.evaluation import MatchResult
from engine.network.blobnet import NetworkConfig, build_network, weights_hash, weights_of

SHAPE = NetworkConfig(32, 2, 4, 64)
DEPTH = ("--determinizations", "2", "--simulations", "6")
TRAINING = (
    *("iteration", "--device", "cpu", "--network", "32-2-4-64", *DEPTH, "--dtype", "float32"),
    *("--workers", "1", "--lanes", "6", "--games", "24", "--iterations", "3", "--run-dir", "run"),
    *("--evaluate-every", "2", "--deals", "8", "--html", "--output", "training.json"),
)
SECONDS = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in both formats, and the folder of a training with matches."""
    folder = tmp_path_factory.mktemp("evaluate")
    network = build_network(SHAPE, "cpu", seed=3)
    torch.save(network.state_dict(), folder / "weights.pt")
    safetensors.numpy.save_file(weights_of(network), folder / "weights.safetensors")
    safetensors.numpy.save_file(
        {"a": weights_of(network)["embedding.bias"]}, folder / "other.safetensors"
    )
    (folder / "text.pt").write_text("no weights")
    state = network.state_dict()
    state["value_head.2.bias"] = torch.full_like(state["value_head.2.bias"], float("nan"))
    torch.save(state, folder / "nan.pt")
    torch.save(torch.zeros(3), folder / "tensor.pt")
    done = in_process(folder, *TRAINING)
    # So short a run need not be conclusive.
    assert done.returncode in (0, 3), done.stderr
    return folder


def evaluated(folder: Path, name: str, *arguments: str) -> Report:
    done = in_process(folder, "evaluate", *arguments, *DEPTH, "--output", name)
    assert done.returncode == 0, done.stderr
    return read_report(folder / name)


def test_each_opponent_is_a_match_with_its_interval(folder: Path) -> None:
    opponents = ("random", "rules", "raw", "search", "weights.pt")
    against = [part for name in opponents for part in ("--against", name)]
    report = evaluated(folder, "all.json", "weights.safetensors", *against, "--deals", "30")
    hashed = weights_hash(weights_of(build_network(SHAPE, "cpu", seed=3)))[:8]
    assert {match.player for match in report.matches} == {
        f"search 2 × 6 of weights.safetensors ({hashed})"
    }
    assert [match.opponent for match in report.matches] == [
        *("random", "rules", "raw", "search 2 × 6 without a network"),
        f"search 2 × 6 of weights.pt ({hashed})",
    ]
    for match in report.matches:
        interval = match.difference.interval
        assert match.deals == match.difference.samples == 30
        assert interval is not None
        assert interval.low < (match.difference.value or 0) < interval.high
        assert match.seconds
    by_name = {check.name: check for check in report.checks}
    assert by_name["ahead of rules"].status is Status.FAIL, "random weights lose"
    assert (report.verdict, report.exit_code) == (Status.NOT_APPLICABLE, 0)
    assert {phase.name for phase in report.phases} >= {"against random", "against raw"}
    text = document(report)
    assert all(match.opponent in text for match in report.matches)
    assert "points a deal ahead" in page(report)


def test_the_same_seed_plays_the_same_match(folder: Path) -> None:
    once, again, other = (
        evaluated(folder, f"seed-{name}.json", "rules", "--deals", "40", "--seed", seed).matches
        for name, seed in (("once", "1"), ("again", "1"), ("other", "2"))
    )
    assert [match.difference for match in once] == [match.difference for match in again]
    assert [match.difference for match in once] != [match.difference for match in other]
    assert once[0].difference.value is not None
    assert once[0].difference.value > 2, "rules beat chance"


def test_a_training_has_its_matches_in_the_report_and_on_the_page(folder: Path) -> None:
    report = read_report(folder / "training.json")
    assert report.training is not None
    played = [[m.opponent for m in one.matches] for one in report.training.iterations]
    assert played == [[], ["random", "rules", "first", "raw"], ["random", "rules", "first", "raw"]]
    first = report.training.iterations[1]
    assert first.matches[0].player == "search 2 × 6"
    assert first.matches[0].deals == 8
    assert "evaluation" in {phase.name for phase in report.phases}
    # So few games need not give a steady rate, and so no plan; what was counted is there anyway.
    measured = {metric.name: metric.value for metric in report.metrics}
    assert measured["iterations between matches"] == 2
    assert not [hold for hold in report.holds if hold.phase == "evaluation"], "it is at work"
    text = (folder / "training.html").read_text()
    shown = re.sub(r"<[^>]+>", " ", text)
    for title in ("Loss, nats", "Points a deal ahead of: rules", "Bids made exactly"):
        assert title in shown
    assert "against first" in shown
    again = in_process(folder, "report", "show", "training.json")
    assert "Strength: points a deal ahead" in again.stdout


def test_the_folder_of_a_training_stands_for_its_newest_network(folder: Path) -> None:
    first = "run/networks/000000.safetensors"
    report = evaluated(folder, "run.json", "run", "--against", first, "--deals", "5")
    assert "of 000003.safetensors (" in report.matches[0].player
    assert "of 000000.safetensors (" in report.matches[0].opponent


def test_a_training_s_network_is_measured_at_its_own_search(folder: Path) -> None:
    asked = ("evaluate", "run", "--against", "random", "--deals", "4", "--output")
    own = in_process(folder, *asked, "own.json")
    assert own.returncode == 0, own.stderr
    other = in_process(folder, *asked, "other.json", "--simulations", "8", "--players", "3")
    assert other.returncode == 0, other.stderr
    players = [read_report(folder / f"{name}.json") for name in ("own", "other")]
    assert [one.matches[0].player.split(" of ")[0] for one in players] == [
        *("search 2 × 6", "search 2 × 8")
    ]
    assert [one.configuration["players"] for one in players] == [4, 3]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_an_interrupt_keeps_the_deals_that_have_ended(folder: Path) -> None:
    log = folder / "log.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "blobdiag",
                    "evaluate",
                    "weights.pt",
                    "--against",
                    "random",
                ),
                *("--against", "rules", "--deals", "2000000", *DEPTH, "--output", "cut.json"),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + SECONDS
            while not re.search(r"[1-9][\d,]* of 8,000,000 games", log.read_text()):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 130
        finally:
            process.kill()
    report = read_report(folder / "cut.json")
    assert report.interrupted
    [match] = report.matches
    assert 0 < match.deals < 2_000_000
    assert match.seconds is None
    assert "points a deal ahead" in report.verdict_text


REFUSED = {
    "no such file": (["nothing.pt"], "CHECKPOINT nothing.pt: there is no such file"),
    "no weights": (["text.pt"], "CHECKPOINT text.pt: not a file of weights"),
    "another network's": (
        ["other.safetensors"],
        "not a network's weights (they are not those of a",
    ),
    "no numbers": (["nan.pt"], "CHECKPOINT nan.pt: 'value_head.2.bias' holds NaN or infinite"),
    "a bare tensor": (["tensor.pt"], "CHECKPOINT tensor.pt: not a file of weights (it holds a"),
    "another opponent's": (["rules", "--against", "text.pt"], "--against text.pt: not a file of"),
    "a folder": (["."], "CHECKPOINT .: not the folder of a training run"),
    "raw alone": (["raw"], "CHECKPOINT raw: raw is for --against only"),
    "raw of nobody": (["rules", "--against", "raw"], "--against raw: rules has no network"),
    "twice": (["rules", "--against", "random", "--against", "random"], "random is given twice"),
    "no deal": (["rules", "--deals", "0"], "--deals must be at least 1, not 0"),
    "too many cards": (["rules", "--players", "8", "--cards", "7"], "cards"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, case: str) -> None:
    arguments, expected = REFUSED[case]
    before = set(folder.rglob("*"))
    done = in_process(folder, "evaluate", *arguments)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("blobdiag: ")
    assert expected in line
    assert set(folder.rglob("*")) == before


def test_the_report_tells_of_the_options_that_matter() -> None:
    offered = set(inspect.signature(command).parameters) - {"context"}
    assert offered == EvaluationSettings(player="rules").for_report().keys()


def test_a_single_deal_has_no_interval() -> None:
    match = match_record("a", "b", MatchResult(1, 2.0, None, 0.5, 0.5))
    assert match.difference.interval is None
    assert match.difference.reason == "a single deal: an interval needs two"


def test_the_interval_is_students() -> None:
    """Five deals: 2.776 standard errors to either side."""
    match = match_record("a", "b", MatchResult(5, 1.0, 0.5, 0.5, 0.5))
    assert match.difference.interval is not None
    assert match.difference.interval.high == pytest.approx(1 + 2.776 * 0.5, rel=0.01)


def test_nothing_played_is_no_judgement() -> None:
    judged = judge(reports.minimal(command="evaluate"))
    assert (judged.headline, judged.checks) == ("", [])
