"""The one judgement: equal for a run that goes on, its saved report, and a report judged again."""

from __future__ import annotations

from pathlib import Path

import pytest
from healthy_runs import healthy_runs
from hypothesis import given
from hypothesis import strategies as st
from sick_runs import sick_runs
from watched_programs import HEALTHY, SICK

import reports
from blobdiag.diagnosis.judge import judge
from blobdiag.model.base import Role, Status
from blobdiag.model.recorded import EndedEarly
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report

ROOT = Path(__file__).parents[3]
COMMITTED = sorted(ROOT.glob("reports/*/*.json"))

SCRIPTED = [
    *(run.report() for _, _, run in sick_runs()),
    *(report for _, report in healthy_runs(20)),
    *(report for of_cause in SICK.values() for report in of_cause.values()),
    *HEALTHY.values(),
]


@given(st.integers(0, len(SCRIPTED) - 1))
def test_a_report_is_judged_the_same_live_saved_and_again(number: int) -> None:
    report = SCRIPTED[number]
    judged = judge(report)
    saved = Report.model_validate_json(report.model_dump_json())
    assert judge(saved) == judged
    assert judge(judged) == judged
    assert judge(Report.model_validate_json(judged.model_dump_json())) == judged
    running = judge(report.model_copy(update={"running": True}))
    assert running.checks == judged.checks
    assert running.findings == judged.findings
    assert running.validity == judged.validity


@given(st.integers(0, len(SCRIPTED) - 1))
def test_what_does_not_apply_is_never_not_valid(number: int) -> None:
    for check in judge(SCRIPTED[number]).checks:
        if check.status is Status.NOT_APPLICABLE:
            assert check.valid


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_reports_get_the_verdict_that_they_were_written_with(path: Path) -> None:
    """But for one change: a measurement of the CPU alone is no pass of the GPU's test."""
    before = read_report(path)
    after = judge(before)
    assert after.exit_code == before.exit_code
    if before.command in ("compare", "iteration") and before.device == "cpu":
        assert before.verdict in (Status.PASS, Status.NOT_APPLICABLE)
        assert after.verdict is Status.NOT_APPLICABLE
        assert after.verdict_text.startswith("The GPU was not tested: ")
    else:
        assert after.verdict is before.verdict
    deciding = {c.name: c.status for c in before.checks if c.role is Role.DECIDING}
    assert deciding.items() <= {check.name: check.status for check in after.checks}.items()


def cpu_run(**changes: object) -> Report:
    return reports.minimal(
        command="compare", throughput=[reports.throughput("cpu", 40_000.0)], **changes
    )


def test_without_a_gpu_the_first_words_are_that_none_was_tested() -> None:
    report = judge(cpu_run())
    assert (report.verdict, report.exit_code) == (Status.NOT_APPLICABLE, 0)
    assert report.verdict_text.startswith(
        "The GPU was not tested: this torch is built without CUDA. The CPU reached "
    )
    asked = judge(cpu_run(configuration={"device": "cpu"}))
    assert asked.verdict_text.startswith("The GPU was not tested: --device cpu was given. ")


def test_a_collapsed_search_fails_on_a_cpu_too() -> None:
    sick = reports.throughput("cpu", search_health=reports.health(distinct_share=0.03))
    report = judge(cpu_run().model_copy(update={"throughput": [sick]}))
    assert (report.verdict, report.exit_code) == (Status.FAIL, 1)


def test_a_broken_rule_stands_in_the_headline_also_where_it_decides_nothing() -> None:
    report = judge(cpu_run(sampler_death="killed by SIGKILL"))
    assert report.exit_code == 0
    assert "Warning: " in report.verdict_text
    assert "the sampler failed (killed by SIGKILL)" in report.verdict_text


def test_what_ended_a_run_early_is_said_and_keeps_its_exit_code() -> None:
    for ended, words in (
        (EndedEarly(kind="interrupted", by="SIGTERM", exit_code=143), "Interrupted before"),
        (
            EndedEarly(kind="timed-out", by="--timeout 8", exit_code=3),
            "The time ran out (--timeout 8 s) before",
        ),
    ):
        report = judge(cpu_run(ended_early=ended, interrupted=True))
        assert (report.verdict, report.exit_code) == (Status.INCONCLUSIVE, ended.exit_code)
        assert words in report.verdict_text


def test_a_failure_is_inconclusive_and_said_first() -> None:
    report = judge(cpu_run(failure="cuda is not available: no driver"))
    assert (report.verdict, report.exit_code) == (Status.INCONCLUSIVE, 3)
    assert report.verdict_text.startswith("cuda is not available: no driver. ")
