"""--inject and --list-injections: what is refused, and that a fault's mark is in the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import in_process

from blobdiag.diagnosis.causes import CATALOGUE
from blobdiag.model import faults as injections
from blobdiag.model.errors import UserError
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.model.selfplay import Hold
from blobdiag.model.settings import Settings
from blobdiag.sampling.machine import usable_cores
from blobdiag.targets.builtin.arm import BuiltInArm, injection_of
from blobdiag.targets.builtin.stacks import hold_records
from blobdiag.targets.builtin.weights import load_network
from engine.network.precision import choose_dtype
from engine.selfplay import faults
from engine.selfplay.stacks import Place

SMALL = (
    *("--network", "32-2-4-64", "--simulations", "6", "--determinizations", "2"),
    *("--lanes", "6", "--workers", "2", "--games", "5", "--quiet"),
)


def settings(inject: str | None, **changes: object) -> Settings:
    made = Settings(device="cpu", workers=1, inject=inject, **changes)
    made.check()
    return made


def test_the_engine_knows_the_names_and_the_catalogue_the_findings() -> None:
    assert [fault.name for fault in injections.FAULTS] == list(faults.NAMES)
    assert {fault.finding for fault in injections.FAULTS} <= CATALOGUE.keys()


@pytest.mark.parametrize(
    ("text", "name", "dose"),
    [
        (None, None, 0),
        ("train-mode", "train-mode", 0),
        ("tiny-batches", "tiny-batches", 4),
        ("tiny-batches:7", "tiny-batches", 7),
        ("oversubscription", "oversubscription", 4 * usable_cores()),
        ("oversubscription:2", "oversubscription", 2),
        ("phase-gap", "phase-gap", 3),
        ("phase-gap:0.5", "phase-gap", 0.5),
    ],
)
def test_a_dose_is_read_or_has_its_default(text: str | None, name: str | None, dose: float) -> None:
    assert injection_of(settings(text)) == (name, dose)


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "gremlins": "--inject must be one of device-not-propagated, tiny-batches",
        "": "not ''",
        "tiny-batches:": "must be a whole number from 1, at most 1,000,000, not ''",
        "tiny-batches:0": "must be a whole number from 1, at most 1,000,000, not '0'",
        "tiny-batches:2": "at least one decision's trees, --determinizations 3",
        "oversubscription:1.5": "must be a whole number",
        "oversubscription:inf": "must be a whole number",
        "phase-gap:-1": "must be a number above 0",
        "phase-gap:nan": "must be a number above 0",
        "same-seed:2": "takes no dose, not '2'",
    }.items(),
)
def test_what_cannot_be_injected_is_one_line(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        settings(text)
    assert len(str(caught.value).splitlines()) == 1


def test_precision_is_left_at_float32_where_the_probe_says_otherwise() -> None:
    broken, healthy = settings("precision"), settings(None)
    network = load_network(healthy)
    best = choose_dtype(network, "cpu")
    # A probe is a measurement: two in a row may only differ where both are equally fast.
    assert BuiltInArm(broken, network, "cpu").dtype == "float32"
    assert BuiltInArm(healthy, network, "cpu").dtype in (best, choose_dtype(network, "cpu"))


def test_holds_are_the_longest_with_their_share_of_all() -> None:
    places = {Place("training", f"a.py:{n} f"): float(n) for n in range(40)}
    holds = hold_records(places)
    assert len(holds) == 20
    assert holds[0] == Hold(phase="training", where="a.py:39 f", seconds=39, share=39 / 780)
    assert [h.seconds for h in holds] == sorted((h.seconds for h in holds), reverse=True)
    assert hold_records({}) == []


# The command line


def measured(folder: Path, command: str, *arguments: str) -> Report:
    result = in_process(folder, command, "--device", "cpu", *SMALL, *arguments)
    assert result.stdout, result.stderr
    return read_report(folder / result.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", ["check-gpu", "compare", "iteration"])
def test_the_listing_says_what_there_is(tmp_path: Path, command: str) -> None:
    result = in_process(tmp_path, command, "--list-injections")
    assert (result.returncode, result.stderr) == (0, "")
    for fault in injections.FAULTS:
        for text in (fault.name, fault.does, fault.finding, fault.commands):
            assert text in result.stdout
    assert "SECONDS by default: 3" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_gap_in_a_window_has_its_line_in_the_report(tmp_path: Path) -> None:
    report = measured(tmp_path, "compare", "--min-seconds", "2", "--inject", "phase-gap:1.5")
    assert report.configuration["inject"] == "phase-gap:1.5"
    [gap] = [hold for hold in report.holds if hold.where.endswith("Injection.gap")]
    assert gap.phase == "self-play"
    assert 0.9 * 1.5 <= gap.seconds <= 1.1 * 1.5
    assert gap.where.startswith("faults.py:")
    during = [hold for hold in report.holds if hold.phase == "self-play"]
    assert gap.seconds >= 0.9 * sum(hold.seconds for hold in during)
    for worker in report.workers:
        assert worker.grad_enabled is False
        assert worker.train_mode is False
        assert sum(worker.batch_histogram.values()) == worker.batches
        assert len(worker.deals) == 32
    assert {w.weights_hash for w in report.workers} == {report.weights_hash}
    [cost] = [metric for metric in report.metrics if metric.name == "stack watch's own CPU"]
    assert cost.value is not None
    assert 0 < cost.value < 2


@pytest.mark.slow
def test_weights_that_stay_behind_are_in_the_report(tmp_path: Path) -> None:
    report = measured(
        tmp_path, "iteration", "--games", "40", "--reuse", "2", "--inject", "stale-weights"
    )
    assert report.weights_version == 1
    stale, fresh = sorted(report.workers, key=lambda worker: worker.worker)
    assert (stale.weights_version, fresh.weights_version) == (0, 1)
    assert fresh.weights_hash == report.weights_hash != stale.weights_hash
    assert "stale-weights" in {finding.name for finding in report.findings}


@pytest.mark.slow
def test_a_remedy_is_applied_and_measured(tmp_path: Path) -> None:
    report = measured(
        tmp_path, "check-gpu", "--verify-fix", "--inject", "tiny-batches:2", "--min-seconds", "2"
    )
    seen = report.verification
    assert seen is not None
    assert (seen.finding, report.findings[0].name) == ("tiny-batches", "tiny-batches")
    before, after = seen.before.value, seen.after.value
    assert before == report.throughput[0].evaluations_per_second.value
    assert after is not None
    assert seen.realised.value == pytest.approx(after / before)
    assert seen.realised.value > 2
    gain = report.findings[0].gain
    assert gain is not None
    assert seen.predicted == gain.self_play_factor
    # What was measured with the remedy is not taken for the run that was asked about.
    assert len(report.throughput) == 1
    assert len(report.workers) == 2
    assert "self-play, remedied" in {phase.name for phase in report.phases}


@pytest.mark.slow
def test_without_a_finding_there_is_nothing_to_verify(tmp_path: Path) -> None:
    enough = ("--lanes", "96", "--min-seconds", "1")
    report = measured(tmp_path, "check-gpu", "--verify-fix", *enough)
    assert report.verification is None
    [event] = [event for event in report.events if event.kind == "not-verified"]
    assert "no fix to verify" in event.text
