"""The index of reports: rows, order, what cannot be read, and the committed Markdown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

import reports
from blobdiag.cli.report_list import list_reports
from blobdiag.model.base import Metric
from blobdiag.model.machine import Machine
from blobdiag.model.report import Report
from blobdiag.model.report_files import ReportError, write_report
from blobdiag.model.training import TrainingRun
from blobdiag.render.index import markdown, read_folders, table

ROOT = Path(__file__).parents[3]


def drawn(folder: Path) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80, highlight=False).print(table(read_folders([folder])))
    return stream.getvalue()


def saved(folder: Path, **by_name: Report) -> Path:
    for name, report in by_name.items():
        write_report(report, folder / f"{name}.json")
    return folder


def test_the_committed_index_is_that_of_the_reference_reports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT / "reports")
    folders = [Path("reference"), Path("learning")]
    assert (ROOT / "reports" / "README.md").read_text() == markdown(read_folders(folders))


def test_a_row_holds_what_a_run_came_to_in_80_columns(tmp_path: Path) -> None:
    trained = Metric(name="examples per second", value=74_115.0, unit="examples/s")
    text = drawn(saved(tmp_path, one=reports.full(metrics=[trained])))
    for words in (
        "2025-10-25",
        "12:00:00",
        "iteration on cuda:0: FAIL",
        "NVIDIA H100 80GB HBM3, 2 cores",
        "one.json",
        "cpu: 636.1 games/min",
        "cuda:0: 2,156 games/min",
        "2,135 to 2,178",
        "cuda:0: 40,000 evals/s",
        "74,115 examples/s",
        "1.70 days",
    ):
        assert words in text
    assert max(map(cell_len, text.splitlines())) <= 80


def test_reports_are_in_order_of_date_whatever_their_names(tmp_path: Path) -> None:
    early = reports.minimal(started_utc="2025-01-01T00:00:00Z")
    saved(tmp_path, b=early, a=reports.minimal())
    assert [e.path.name for e in read_folders([tmp_path]).entries] == ["b.json", "a.json"]


def test_a_figure_that_is_not_known_is_a_dash(tmp_path: Path) -> None:
    unknown = Metric(name="games per minute", value=None, unit="games/min", reason="no game ended")
    report = reports.minimal(throughput=[reports.throughput("cpu", games_per_minute=unknown)])
    saved(tmp_path, one=report)
    assert "– games/min" in drawn(tmp_path)
    row = markdown(read_folders([tmp_path])).splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")][5:10] == ["–", "40,000", *"–––"]


def test_matches_are_figures_those_of_a_training_its_last(tmp_path: Path) -> None:
    iterations = [
        reports.trained_iteration(1, rules=(-0.9, 0.1)),
        reports.trained_iteration(2, rules=(0.25, 0.1)),
        reports.trained_iteration(3),
    ]
    training = TrainingRun(wanted=3, iterations=iterations, examples_by_age={}, examples_by_uses={})
    played = reports.minimal(matches=iterations[1].matches)
    saved(tmp_path, one=played, two=reports.minimal(training=training))
    assert drawn(tmp_path).count("rules: 0.25 points ahead") == 2
    assert "-0.9" not in drawn(tmp_path)
    assert markdown(read_folders([tmp_path])).count("| rules: 0.25 (0.05") == 2


def test_words_of_a_report_are_no_markdown(tmp_path: Path) -> None:
    machine = Machine(
        label="a|b [c](d) <i>", platform="", cpu="x", cores_usable=1, cores_total=1, memory_gib=1
    )
    saved(tmp_path, one=reports.minimal(machine=machine))
    row = markdown(read_folders([tmp_path])).splitlines()[-1]
    assert r"| a\|b \[c\](d) \<i\>, x, 1 core |" in row


def test_what_cannot_be_read_is_listed_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text(json.dumps({"name": "package"}))
    (tmp_path / "folder.json").mkdir()
    assert list_reports([tmp_path], as_markdown=False) == 2
    listed = " ".join(capsys.readouterr().out.split())
    assert listed.count("not read: ") == 3
    assert "other.json is not a blobdiag report" in listed
    saved(tmp_path, one=reports.minimal())
    assert list_reports([tmp_path], as_markdown=False) == 0
    assert list_reports([tmp_path], as_markdown=True) == 0
    assert capsys.readouterr().out.count("Not read: ") == 3


def test_schema_and_timelines_are_no_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "schema.json").write_text("{}")
    (tmp_path / "one.trace.json").write_text("{}")
    assert list_reports([tmp_path], as_markdown=False) == 0
    assert capsys.readouterr().out == f"no reports in {tmp_path}\n"


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="none is not a folder"):
        list_reports([tmp_path, tmp_path / "none"], as_markdown=False)
