"""`blobdiag report judge`: a saved report, judged by rules made up here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import in_process

import reports
from blobdiag.model.base import Status
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report, write_report

RULES = "blobdiag.diagnosis.judge"
OLD = reports.minimal(verdict=Status.PASS, verdict_text="All is well.", exit_code=0)
FAILED = {
    "verdict": Status.FAIL,
    "verdict_text": "It is not.",
    "exit_code": 1,
    "checks": [reports.check(Status.FAIL)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_report(OLD, tmp_path / "old.json")
    return tmp_path


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have reports judged so that these fields come out."""

    def put(**judged: object) -> None:
        def judge(report: Report) -> Report:
            return report.model_copy(update=judged)

        monkeypatch.setitem(sys.modules, RULES, SimpleNamespace(judge=judge))

    return put


def test_what_changed_is_said_and_the_exit_code_is_the_new_verdicts(
    folder: Path, rules: Callable[..., None]
) -> None:
    rules(**FAILED)
    before = (folder / "old.json").read_bytes()
    result = in_process(folder, "report", "judge", "old.json")
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        "FAIL: It is not.",
        "  verdict changed: status: PASS → FAIL; exit code: 0 → 1; text: All is well. → It is not.",
        "  check self-play GPU utilisation added: FAIL",
    ]
    assert (folder / "old.json").read_bytes() == before
    assert list(folder.iterdir()) == [folder / "old.json"]


def test_where_nothing_changes_that_is_said(folder: Path, rules: Callable[..., None]) -> None:
    rules()
    result = in_process(folder, "report", "judge", "old.json")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["PASS: All is well.", "  nothing changed"]


def test_the_judged_report_is_written_and_never_over_another(
    folder: Path, rules: Callable[..., None]
) -> None:
    rules(**FAILED)
    arguments = ("report", "judge", "old.json", "--output", "new.json")
    result = in_process(folder, *arguments)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (1, "new.json")
    assert read_report(folder / "new.json") == OLD.model_copy(update=FAILED)
    for name in ("new.json", "old.json"):
        again = in_process(folder, "report", "judge", "old.json", "--output", name)
        assert (again.returncode, again.stdout) == (2, "")
        assert "nothing is overwritten" in again.stderr
    assert read_report(folder / "old.json") == OLD


def test_json_is_for_programs(folder: Path, rules: Callable[..., None]) -> None:
    rules(**FAILED)
    arguments = ("report", "judge", "old.json", "--format", "json", "--output", "new.json")
    result = in_process(folder, *arguments)
    assert (result.returncode, result.stderr) == (1, "new.json\n")
    judged = json.loads(result.stdout)
    assert (judged["verdict"], judged["exit_code"]) == ("FAIL", 1)
    assert [(c["what"], c["happened"]) for c in judged["changes"]] == [
        ("verdict", "changed"),
        ("check", "added"),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["none.json"], "none.json"), (["old.json", "--format", "xml"], "--format")],
)
def test_bad_input_is_one_line(
    folder: Path, rules: Callable[..., None], arguments: list[str], words: str
) -> None:
    rules()
    result = in_process(folder, "report", "judge", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
