"""What another judgement of a report changed, from reports made by hand."""

from __future__ import annotations

import pytest

import reports
from blobdiag.diagnosis.rejudged import Edit, JudgementChange, changes
from blobdiag.model.base import Role, Status
from blobdiag.model.judgement import Finding, Gain
from blobdiag.model.report import Report

STARVED = Finding(
    name="busy-but-starved",
    title="The GPU is busy, but starved",
    cause="batches are small",
    evidence=["mean batch 12"],
    remedy="more lanes",
)


def judged(**changes: object) -> Report:
    """A report with one check that passed, and one finding."""
    return reports.minimal(**{"checks": [reports.check()], "findings": [STARVED], **changes})


def texts(before: Report, after: Report) -> list[str]:
    return [str(change) for change in changes(before, after)]


def test_the_same_judgement_is_no_change() -> None:
    assert changes(judged(), judged()) == []
    assert changes(reports.full(), reports.full()) == []


def test_a_verdict_changes_with_its_exit_code_and_text() -> None:
    after = judged(verdict=Status.FAIL, verdict_text="It fails.", exit_code=1)
    assert changes(judged(), after) == [
        JudgementChange(
            what="verdict",
            name="verdict",
            happened="changed",
            summary="",
            edits=[
                Edit(field="status", before="INCONCLUSIVE", after="FAIL"),
                Edit(field="exit code", before="3", after="1"),
                Edit(field="text", before="Nothing was checked.", after="It fails."),
            ],
        )
    ]
    assert texts(judged(), after) == [
        "verdict changed: status: INCONCLUSIVE → FAIL; exit code: 3 → 1; "
        "text: Nothing was checked. → It fails."
    ]


@pytest.mark.parametrize(
    ("after", "edit"),
    [
        (reports.check(Status.FAIL), "status: PASS → FAIL"),
        (reports.check(role=Role.ADVISORY), "role: deciding → advisory"),
        (reports.check(valid=False), "validity: ok → throttling"),
        (reports.check().model_copy(update={"expectation": "≥ 70 %"}), "70 to 100 % → ≥ 70 %"),
        (reports.check().model_copy(update={"observation": "mean 84 %"}), "mean 83 % → mean 84 %"),
    ],
)
def test_a_check_changes(after: reports.Check, edit: str) -> None:
    [text] = texts(judged(), judged(checks=[after]))
    assert text.startswith("check self-play GPU utilisation changed: ")
    assert text.endswith(edit)


def test_checks_are_added_and_removed() -> None:
    after = judged(checks=[reports.check(Status.FAIL, name="speed-up")])
    assert texts(judged(), after) == [
        "check speed-up added: FAIL",
        "check self-play GPU utilisation removed: PASS",
    ]


def test_findings_are_added_changed_and_removed() -> None:
    more = STARVED.model_copy(update={"evidence": ["mean batch 12", "SM activity 3 %"]})
    assert texts(judged(), judged(findings=[more])) == [
        "finding busy-but-starved changed: evidence: mean batch 12 → mean batch 12; SM activity 3 %"
    ]
    assert texts(judged(), judged(findings=[])) == [
        "finding busy-but-starved removed: The GPU is busy, but starved"
    ]
    assert texts(judged(findings=[]), judged()) == [
        "finding busy-but-starved added: The GPU is busy, but starved"
    ]
    predicted = STARVED.model_copy(update={"gain": Gain(basis="Amdahl")})
    [text] = texts(judged(), judged(findings=[predicted]))
    assert text.endswith("gain: not predicted → Amdahl")


def test_of_several_with_one_name_each_is_held_against_its_own() -> None:
    second = STARVED.model_copy(update={"title": "Another process"})
    both = judged(findings=[STARVED, second])
    assert texts(both, both) == []
    assert texts(both, judged()) == ["finding busy-but-starved removed: Another process"]


def test_the_order_is_verdict_checks_findings() -> None:
    after = judged(verdict=Status.PASS, exit_code=0, checks=[], findings=[])
    assert [change.what for change in changes(judged(), after)] == ["verdict", "check", "finding"]
