"""`report diff` and `report spread`, by the command line's own entry, on reports in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import in_process
from scripted_runs import Run

import reports
from blobdiag.diagnosis.comparison import compare
from blobdiag.diagnosis.gates import FIGURES, Gate
from blobdiag.diagnosis.report_figures import figures
from blobdiag.model.base import Status
from blobdiag.model.comparison import Comparison
from blobdiag.model.judgement import Finding, Validity
from blobdiag.model.recorded import Event, Series
from blobdiag.model.report import Report
from blobdiag.model.report_files import write_report

REFERENCE = Path(__file__).parents[3] / "reports" / "reference"
SPREAD = (0.99, 1.0, 1.012)
"""What three runs of the same code reach, beside their mean."""

Called = tuple[int, str, str]
Call = Callable[..., Called]


def run_of(rate: float, number: int = 0, **changes: Any) -> Report:
    """A run on a CPU at so many evals/s, the `number`-th of its day."""
    fields: dict[str, Any] = {
        "command": "compare",
        "pid": 1_000 + number,
        "started_utc": f"2026-11-24T12:{number:02}:00Z",
        "configuration": {"games": 20, "simulations": 30, "seed": 0, "output": f"{number}.json"},
        "throughput": [reports.throughput("cpu", rate)],
        "checks": [reports.check()],
    }
    return reports.minimal(**fields | changes)


def side(rate: float, first: int = 0, **changes: Any) -> list[Report]:
    """Three runs of the same code; every other minute, so that two sides alternate."""
    return [run_of(rate * s, first + 2 * k, **changes) for k, s in enumerate(SPREAD)]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The console script, in a folder of its own and with nothing kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "100")

    def called(*arguments: str) -> Called:
        ended = in_process(tmp_path, "report", *arguments)
        return ended.returncode, ended.stdout, ended.stderr

    return called


def saved(name: str, runs: Sequence[Report]) -> list[str]:
    """The runs in files of the current folder."""
    names = [f"{name}{number}.json" for number in range(len(runs))]
    for file, run in zip(names, runs, strict=True):
        write_report(run, Path(file))
    return names


def gate(old: list[Report], new: list[Report], figure: str = "games_per_minute") -> Status:
    [result] = compare(old, new, gates=[Gate(figure, 5.0)]).gates
    return result.status


# The command


def test_a_slow_down_fails_the_gate(call: Call) -> None:
    old, new = saved("old", side(40_000)), saved("new", side(36_000, first=1))
    code, shown, errors = call("diff", *old, "--", *new, "--fail-on", "games_per_minute:5%")
    assert (code, errors) == (1, "")
    assert "× 0.900" in shown
    assert "FAIL" in shown
    assert "10.0 % worse" in shown
    assert "not the same experiment" not in shown
    assert "alternate" not in shown
    assert call("diff", *old, "--", *new)[0] == 0


def test_equal_code_passes_and_is_said_to_be_the_same(call: Call) -> None:
    old, new = saved("old", side(40_000)), saved("new", side(40_100, first=1))
    gated = ("--fail-on", "games_per_minute:5%", "--fail-on", "warm_up_seconds:20")
    code, shown, _ = call("diff", *gated, *old, "--", *new)
    assert code == 0
    assert "no change seen" in shown
    assert "No change seen: games_per_minute, evaluations_per_second" in shown
    assert shown.count("PASS") == 2


def test_two_files_cannot_be_told_apart_until_a_spread_is_kept(call: Call) -> None:
    old, new = saved("old", [run_of(40_000)]), saved("new", [run_of(30_000, 1)])
    several = saved("several", side(40_000, first=10))
    gated = ("diff", *old, *new, "--fail-on", "games_per_minute:5%")
    code, shown, _ = call(*gated)
    assert code == 3
    assert "blobdiag report spread" in shown
    code, shown, _ = call("spread", *several)
    assert code == 0
    assert "games_per_minute" in shown
    assert "1.10 %" in shown
    code, shown, _ = call(*gated)
    assert code == 1
    assert "25.0 % worse" in shown


def test_a_kept_spread_is_of_its_workload_only(call: Call) -> None:
    """Runs of 3 s differ by more than those of 60 s."""
    call("spread", *saved("several", side(40_000)))
    shorter = reports.minimal().configuration | {"min_seconds": 3.0}
    old = saved("old", [run_of(40_000, configuration=shorter)])
    new = saved("new", [run_of(30_000, 1, configuration=shorter)])
    code, shown, _ = call("diff", *old, *new, "--fail-on", "games_per_minute:5%")
    assert code == 3
    assert "blobdiag report spread" in shown


def test_a_kept_spread_is_of_its_machine_only(call: Call) -> None:
    call("spread", *saved("several", side(40_000)))
    machine = reports.minimal().machine.model_copy(update={"cores_usable": 4})
    old, new = saved("old", [run_of(40_000)]), saved("new", [run_of(30_000, 1, machine=machine)])
    code, shown, _ = call("diff", *old, *new, "--fail-on", "games_per_minute:5%")
    assert code == 3
    assert "the sides are not the same experiment: cores_usable" in shown
    assert "different machines" in " ".join(shown.split())


def test_as_json_everything_is_there(call: Call) -> None:
    old, new = saved("old", side(40_000)), saved("new", side(36_000, first=1))
    code, shown, _ = call(
        "diff", *old, "--", *new, "--format", "json", "--fail-on", "mean_batch:5%"
    )
    read = json.loads(shown)
    assert code == read["exit_code"] == 0
    [change] = [c for c in read["figures"] if c["name"] == "games_per_minute"]
    assert change["ratio"] == pytest.approx(0.9)
    assert change["outcome"] == "worse"
    assert change["interval"]["low"] < 0.9 < change["interval"]["high"] < 1
    assert (change["freedom"], change["better"]) == (4, "higher")


def test_as_markdown_it_is_tables(call: Call) -> None:
    old = saved("old", side(40_000))
    new = saved("new", side(36_000, first=1, configuration={"network": "a|b <c>"}))
    _, shown, _ = call("diff", *old, "--", *new, "--format", "markdown")
    assert "| figure | old | new | new ÷ old | 95 % interval |  |\n| --- | --- |" in shown
    assert r"| network | – | a\|b \<c\> |" in shown


def test_reports_of_real_runs(call: Call) -> None:
    files = [str(path) for path in sorted(REFERENCE.glob("*-iteration-*.json"))[:2]]
    code, shown, errors = call("diff", *files)
    assert (code, errors) == (0, "")
    assert "plan_days" in shown
    assert "examples_per_second" in shown


REFUSED = {
    "one file": (["diff", "old0.json"], "OLD... -- NEW..."),
    "three files": (["diff", "old0.json", "old1.json", "old2.json"], "OLD... -- NEW..."),
    "nothing new": (["diff", "old0.json", "--"], "OLD... -- NEW..."),
    "three sides": (["diff", "old0.json", "--", "old1.json", "--", "x"], "OLD... -- NEW..."),
    "missing": (["diff", "old0.json", "x.json"], "cannot read x.json"),
    "no report": (["diff", "old0.json", "text.json"], "text.json is not JSON"),
    "twice": (["diff", "old0.json", "old0.json", "--", "old1.json"], "the same run"),
    "no such figure": (["diff", "old0.json", "old1.json", "--fail-on", "speed:5%"], "mean_batch"),
    "no percentage": (
        ["diff", "old0.json", "old1.json", "--fail-on", "plan_days:x"],
        "plan_days:PERCENT%",
    ),
    "nothing allowed": (["diff", "old0.json", "old1.json", "--fail-on", "plan_days:0"], "above 0"),
    "no such format": (["diff", "old0.json", "old1.json", "--format", "yaml"], "json, markdown"),
    "spread of two": (["spread", "old0.json", "old1.json"], "3 reports or more"),
    "spread of one run": (["spread", "old0.json", "old0.json", "old1.json"], "the same run"),
    "spread of two workloads": (
        ["spread", "old0.json", "old1.json", "other0.json"],
        "one command and configuration",
    ),
    "spread of an interrupted run": (
        ["spread", "old0.json", "old1.json", "ended0.json"],
        "ended0.json cannot be used: it was interrupted",
    ),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_one_line_and_exit_code_2(
    call: Call, arguments: Sequence[str], words: str
) -> None:
    saved("old", side(40_000))
    saved("other", [run_of(40_000, 20, configuration={"games": 21})])
    saved("ended", [run_of(40_000, 21, interrupted=True)])
    Path("text.json").write_text("{never closed")
    code, shown, errors = call(*arguments)
    assert (code, shown) == (2, "")
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert not Path("config").exists()


def test_a_broken_file_of_spreads_is_one_line(call: Call) -> None:
    folder = Path("config/blobdiag")
    folder.mkdir(parents=True)
    (folder / "spread.json").write_text("{")
    code, _, errors = call("diff", *saved("old", side(40_000)[:2]))
    assert code == 2
    assert "spread.json cannot be read" in errors


def test_help_lists_the_figures(call: Call) -> None:
    code, shown, _ = call("diff", "--help")
    assert code == 0
    assert all(name in shown for name in FIGURES)


# The judgement


def test_every_figure_of_a_gate_is_read_from_some_report() -> None:
    run = Run(command="iteration", seconds=30.0).report()
    seconds = [float(second) for second in range(40)]
    power = Series(
        name=f"gpu/{run.gpus[0].uuid}/power", unit="W", times_s=seconds, values=[600.0] * 40
    )
    known = figures(run.model_copy(update={"series": [*run.series, power]}))
    assert FIGURES.keys() <= known.keys()
    # W × 60 s ÷ games: joules of a game.
    assert known["joules_per_game"].value == pytest.approx(36_000 / known["games_per_minute"].value)


def test_more_of_what_should_be_low_is_worse() -> None:
    def warm(seconds: float, first: int) -> list[Report]:
        return [
            run_of(1e4, first + 2 * k, throughput=[reports.throughput("cpu", warm_up_seconds=s)])
            for k, s in enumerate([seconds, 1.01 * seconds, 0.99 * seconds])
        ]

    assert gate(warm(2.0, 0), warm(2.4, 1), "warm_up_seconds") is Status.FAIL
    assert gate(warm(2.4, 0), warm(2.0, 1), "warm_up_seconds") is Status.PASS


def test_a_figure_that_one_side_lacks_is_inconclusive() -> None:
    old = side(40_000)
    assert gate(old, side(40_000, 1, throughput=[])) is Status.INCONCLUSIVE
    assert gate(old, side(40_000, 1), "plan_days") is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interrupted": True}, "interrupted"),
        (
            {"events": [Event(at_s=1.0, kind="failed", text="out of memory")]},
            "it failed: out of memory",
        ),
        (
            {
                "validity": [
                    Validity(rule="cpu: no busy neighbour", observed="2", needed="0", ok=False)
                ]
            },
            "no busy neighbour: 2",
        ),
    ],
)
def test_evidence_that_does_not_count_is_named_and_decides_nothing(
    changes: dict[str, Any], words: str
) -> None:
    new = [*side(30_000, 1)[:2], run_of(30_000, 5, **changes)]
    comparison = compare(side(40_000), new, gates=[Gate("games_per_minute", 5.0)])
    assert comparison.exit_code == 3
    [doubt] = comparison.doubts
    assert doubt.startswith("new report 3 (2026-11-24T12:05:00Z)")
    assert words in doubt


def test_rules_of_one_runs_rate_do_not_count_beside_other_runs() -> None:
    rule = Validity(rule="cpu: steady rate", observed="± 12%", needed="± 10%", ok=False)
    assert gate(side(40_000), side(30_000, 1, validity=[rule])) is Status.FAIL


def test_what_differs_is_said_first() -> None:
    other = {"games": 20, "simulations": 50, "seed": 0}
    comparison = compare(side(40_000), side(40_000, 1, configuration=other, command="check-gpu"))
    assert comparison.unlike == [
        "the sides are not the same experiment: command, simulations differ"
    ]
    assert [d.name for d in comparison.settings] == ["command", "simulations"]
    mixed = compare([*side(40_000), run_of(40_000, 7, configuration=other)], side(40_000, 1))
    assert "the old reports differ in their configuration" in mixed.unlike


def test_sides_that_do_not_alternate_are_named() -> None:
    comparison = compare(side(40_000), side(40_000, 10))
    [note] = comparison.unlike
    assert "alternate" in note


def test_checks_and_findings_that_changed() -> None:
    cause = Finding(
        name="tiny-batches", title="t", cause="c", evidence=[], remedy="more lanes", gain=None
    )
    failed = [reports.check(Status.FAIL)]
    comparison = compare(side(4e4, findings=[cause]), side(4e4, 1, checks=failed))
    assert [f.name for f in comparison.gone] == ["tiny-batches"]
    assert comparison.appeared == []
    [check] = comparison.checks
    assert (check.old, check.new) == ({"PASS": 3}, {"FAIL": 3})


def test_nothing_differs_between_a_run_and_itself() -> None:
    run = side(40_000)
    comparison: Comparison = compare(run, run)
    assert comparison.settings == comparison.checks == comparison.appeared == comparison.gone == []
    assert {change.outcome for change in comparison.figures} == {"same"}
