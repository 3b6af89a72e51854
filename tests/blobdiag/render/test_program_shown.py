"""How a watched program is shown: in a terminal, as Markdown, a page, JUnit, a timeline, a row."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from watched import calls, on_gpu, process, training, watched

from blobdiag.diagnosis.commands.run import program_checks
from blobdiag.diagnosis.comparison import compare
from blobdiag.model.base import Metric
from blobdiag.model.program import ProcessRecord
from blobdiag.model.report import Report
from blobdiag.render import diff, index, junit, markdown, terminal
from blobdiag.render.html import page
from blobdiag.render.perfetto import chrome_trace
from blobdiag.render.processes import MOST_MODULES, MOST_SHOWN, closing, rows


def pool(**changes: object) -> Report:
    """The bug: the parent trains on the GPU, its workers call their network on the CPU."""
    report = watched(
        [
            on_gpu(0, training("cuda:0")),
            process(1, calls("cpu", 12_345, rows=1.0)),
            process(2, calls("cpu", 9_876, rows=1.0, threads=4, intra_op_threads=2)),
            process(3, instrumented=False, reason="python -I ignores PYTHONPATH", cpu_seconds=0.5),
        ],
        expect="cuda",
        because="--device cuda",
        gpu=True,
    )
    checks = program_checks(report)
    return report.model_copy(update={"checks": checks, **changes})


def drawn(report: Report) -> str:
    console = Console(file=StringIO(), width=80, highlight=False)
    terminal.render(report, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("form", [drawn, markdown.document, page])
def test_every_form_says_which_process_called_what_where(form: object) -> None:
    assert callable(form)
    text = form(pool())
    for words in ("4001", "PolicyValueNet", "12,345", "cuda:0", "python selfplay.py"):
        assert words in text, words
    assert "--device cuda" in text.replace("\\", "")
    assert "python -I ignores" in " ".join(text.split())


def test_the_table_fits_a_terminal() -> None:
    lines = drawn(pool()).splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("4002"))
    assert row.split()[2:7] == ["PolicyValueNet", "cpu", "9,876", "1", "4×2"]


def test_rows_are_of_those_that_called_first_and_bounded() -> None:
    many = [process(n, cpu_seconds=float(n), torch=None) for n in range(MOST_SHOWN + 5)]
    kinds = [calls(number=100 - n, module=f"net.Net{n}") for n in range(MOST_MODULES + 2)]
    report = watched([*many, process(99, *kinds, cpu_seconds=0.1)])
    assert report.program is not None
    shown = rows(report.program)
    assert [row.module for row in shown[: MOST_MODULES + 1]] == [
        *(f"Net{n}" for n in range(MOST_MODULES)),
        "2 more",
    ]
    assert [row.pid for row in shown[: MOST_MODULES + 1]] == ["4099", *[""] * MOST_MODULES]
    assert len([row for row in shown if row.pid]) == MOST_SHOWN
    assert closing(report.program) == "6 less busy processes are in the report only"
    assert closing(report.program.model_copy(update={"processes": many[:1]})) is None


def test_roles_are_read_from_command_lines() -> None:
    spawned = "python -c 'from multiprocessing.spawn import …' --multiprocessing-fork"
    tracker = "python -c 'from multiprocessing.resource_tracker import main;main(5)'"
    report = watched(
        [
            process(0),
            process(1, command=spawned),
            process(2, command=tracker),
            process(3, command="python selfplay.py"),
            process(4, command="nvidia-smi"),
        ]
    )
    assert report.program is not None
    roles = {row.pid: row.role for row in rows(report.program)}
    assert list(dict(sorted(roles.items())).values()) == [
        "command",
        "spawned",
        "tracker",
        "forked",
        "child",
    ]


def test_junit_tells_the_failed_check() -> None:
    suite = ElementTree.fromstring(junit.document(pool()))[0]
    cases = suite.findall("testcase")
    failed = [case.get("name") for case in cases if case.find("failure") is not None]
    assert failed == ["forwards on the device"]


def test_a_timeline_has_a_track_for_each_process() -> None:
    events = chrome_trace(pool())["traceEvents"]
    names = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert any("(pid 4001)" in name for name in names)
    (life,) = [e for e in events if e["ph"] == "X" and "PolicyValueNet on cuda:0" in str(e["args"])]
    assert (life["ts"], life["dur"]) == (0, 30_000_000)
    assert life["args"] == {"game.net.PolicyValueNet on cuda:0, calls": 500}


def test_a_program_s_own_count_of_games_is_listed_and_compared() -> None:
    def counting(rate: float, started: str) -> Report:
        metric = Metric(name="games per minute", value=rate, unit="games/min", samples=9)
        return pool(metrics=[metric], started_utc=started)

    old, new = counting(30.0, "2026-01-01T00:00:00Z"), counting(60.0, "2026-01-02T00:00:00Z")
    listed = index.markdown(index.Index([index.Entry(Path("run.json"), old)], []))
    assert "| run | cuda | 30 |" in listed
    comparison = compare([old], [new])
    change = next(c for c in comparison.figures if c.name == "games_per_minute")
    assert (change.old, change.new, change.ratio) == pytest.approx((30.0, 60.0, 2.0))
    assert "games_per_minute: 30.0 → 60.0 games/min" in diff.headline(comparison)


def test_processes_without_a_figure_show_that_it_is_not_known() -> None:
    silent = ProcessRecord(pid=7, parent_pid=1, command="engine", started_s=0.0)
    report = watched([silent])
    assert report.program is not None
    (row,) = rows(report.program)
    assert (row.threads, row.cpu_seconds, row.calls) == ("–", "–", "")
