"""Hostile programs under `run` give the same bytes and exit code; and where it cannot watch."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests" / "proof"))

from attacks import programs  # noqa: E402

from blobdiag.cli import watched_run as watching  # noqa: E402
from blobdiag.model.program_settings import ProgramSettings  # noqa: E402
from blobdiag.model.report import Report  # noqa: E402
from blobdiag.model.report_files import read_report  # noqa: E402

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")

OTHERS = [name for name in programs.commands() if name not in programs.CHEAP]


@pytest.mark.slow
def test_hostile_programs_give_what_they_give_without(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(lambda name: programs.attack(name, tmp_path), programs.CHEAP))
    assert [attack for attack in seen if not attack.ok] == []


@pytest.mark.proof
@pytest.mark.parametrize("name", OTHERS)
def test_so_do_all_the_others(tmp_path: Path, name: str) -> None:
    attack = programs.attack(name, tmp_path)
    assert attack.ok, attack


def test_there_are_enough_of_them() -> None:
    assert len(programs.commands()) >= 60


def watch(tmp_path: Path, script: str, **options: bool) -> int:
    settings = ProgramSettings(
        expect_device=None,
        expect=(),
        judge=options.get("judge", False),
        instrument=False,
        count_every=1,
        timeout=None,
        label=None,
    )
    return watching.watch(
        ["/bin/sh", "-c", script],
        settings,
        output=tmp_path / "report.json",
        html=options.get("html", False),
        form=None,
        quiet=False,
    )


def fails(*_: object, **__: object) -> None:
    raise OverflowError("of ours\nin two lines")


PARTS = {
    "judging": "blobdiag.cli.watched_run.judge",
    "building": "blobdiag.measure.run.program_report",
    "showing": "blobdiag.cli.watched_run.closing_lines",
    "the page": "blobdiag.render.html.page",
    "looking": "blobdiag.targets.program.watch.Watch.look",
    "following": "blobdiag.targets.program.watch.Watch.follow",
    "reading": "blobdiag.targets.program.watch.Watch.read_inside",
    "stragglers": "blobdiag.targets.program.watch.Watch.stragglers",
    "the processes' records": "blobdiag.measure.program_report.process_records",
    "the phases": "blobdiag.measure.program_report.find_phases",
}


CHEAP_PARTS = ("judging", "building", "the page", "looking")


@pytest.mark.parametrize(
    "part",
    [pytest.param(part, marks=[] if part in CHEAP_PARTS else [pytest.mark.slow]) for part in PARTS],
)
def test_a_part_of_ours_that_fails_leaves_the_exit_code_and_a_report(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    part: str,
) -> None:
    monkeypatch.setattr(PARTS[part], fails)
    assert watch(tmp_path, "echo out; exit 7", html=part == "the page") == 7
    output, errors = capfd.readouterr()
    assert output == "out\n"
    assert "Traceback" not in errors
    report: Report = read_report(tmp_path / "report.json")
    assert report.program is not None
    assert report.program.exit_code == 7
    told = [*(event.text for event in report.events), report.verdict_text, errors]
    assert any("OverflowError" in text for text in told)


def test_a_report_that_cannot_be_made_at_all_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("program_report", "bare_report"):
        monkeypatch.setattr(f"blobdiag.measure.run.{name}", fails)
    assert watch(tmp_path, "kill -9 $$") == 128 + 9
    line = "blobdiag: no report can be made: OverflowError: of ours\n"
    assert capfd.readouterr() == ("", line)


def test_a_program_that_was_not_judged_did_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PARTS["judging"], fails)
    assert watch(tmp_path, "exit 0", judge=True) == 3


@pytest.mark.parametrize("files", [pytest.param(7, marks=pytest.mark.slow), 9])
def test_where_watching_takes_more_than_there_is_the_command_runs_alone(
    tmp_path: Path, files: int
) -> None:
    run = f'"{sys.executable}" -m blobdiag run --quiet --output report.json --'
    script = f"ulimit -n {files}; exec {run} sh -c 'cat; exit 9'"
    done = programs.ended(["/bin/sh", "-c", script], tmp_path / "place")
    assert (done.code, done.output) == (9, b"some input\n")
    [line] = done.errors.decode().splitlines()
    assert line.startswith("blobdiag: the command is run without being watched: ")
    missing = f"ulimit -n {files}; exec {run} nonexistent-command"
    done = programs.ended(["/bin/sh", "-c", missing], tmp_path / "missing")
    assert (done.code, done.output) == (127, b"")
    assert b"Traceback" not in done.errors


def test_the_user_s_own_start_up_code_runs_in_no_process_of_ours(tmp_path: Path) -> None:
    """In the command once, and in the interpreter that the user starts us with."""
    site = tmp_path / "site"
    site.mkdir()
    said = "import os, sys; os.write(1, b'site of ' + sys.orig_argv[-1].encode()[-9:] + b'\\n')"
    (site / "sitecustomize.py").write_text(said)
    (site / "usercustomize.py").write_text(said)
    given = {"PYTHONPATH": str(site), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", "print('program')"]
    alone = programs.ended(command, tmp_path / "alone", given)
    run = programs.watched(command, tmp_path / "watched", given)
    assert alone.output.endswith(b"program\n")
    # All that comes before is of our own interpreter, whose start is the user's.
    lines = run.output.splitlines()
    assert lines[-len(alone.output.splitlines()) :] == alone.output.splitlines()
    assert len(lines) == 2 * len(alone.output.splitlines()) - 1
    assert run.code == 0
