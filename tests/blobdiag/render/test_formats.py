"""A report as JSON, JUnit XML and Markdown: each read back by a parser of that language."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import reports
from blobdiag.diagnosis.verdict import verdict
from blobdiag.model.base import Metric, Role, Status
from blobdiag.model.judgement import Check
from blobdiag.model.output_format import Format
from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report
from blobdiag.render.formats import text_of

HOSTILE = "a|b <script>&amp; *x* _y_ `z` $w$ [l](u) \x1b[31m\x00\ufffe"
REFERENCES = sorted(Path(__file__).parents[3].glob("reports/reference/*.json"))


def junit(report: Report) -> ElementTree.Element:
    [suite] = ElementTree.fromstring(text_of(report, Format.JUNIT).encode()).findall("testsuite")
    return suite


def case(suite: ElementTree.Element, name: str) -> ElementTree.Element:
    [found] = [c for c in suite.findall("testcase") if c.get("name") == name]
    return found


def judged(checks: list[Check]) -> Report:
    status, code, text = verdict(checks)
    return reports.minimal(checks=checks, verdict=status, exit_code=code, verdict_text=text)


def test_json_is_the_report(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    path.write_text(text_of(reports.full(), Format.JSON))
    assert read_report(path) == reports.full()


# JUnit

KINDS = {
    "passed": (Role.DECIDING, Status.PASS, True, None),
    "failed": (Role.DECIDING, Status.FAIL, True, "failure"),
    "failed on invalid evidence": (Role.DECIDING, Status.FAIL, False, "error"),
    "passed on invalid evidence": (Role.DECIDING, Status.PASS, False, "error"),
    "could not be judged": (Role.DECIDING, Status.INCONCLUSIVE, True, "error"),
    "does not apply": (Role.DECIDING, Status.NOT_APPLICABLE, True, "skipped"),
    "in range": (Role.ADVISORY, Status.PASS, True, None),
    "out of range": (Role.ADVISORY, Status.FAIL, True, "skipped"),
    "not known": (Role.ADVISORY, Status.INCONCLUSIVE, True, "skipped"),
}


@pytest.mark.parametrize(("role", "status", "valid", "kind"), KINDS.values(), ids=KINDS.keys())
def test_what_a_check_becomes(role: Role, status: Status, valid: bool, kind: str | None) -> None:
    made = reports.check(status, role, valid, "it")
    [inside] = [*case(junit(judged([made])), "it"), None][:1]
    assert (None if inside is None else inside.tag) == kind
    if inside is not None:
        message = inside.get("message", "")
        assert ("throttling: power cap" if not valid else made.observation) in message
        assert made.expectation in (inside.text or "")


@given(
    st.lists(
        st.builds(reports.check, st.sampled_from(Status), st.sampled_from(Role), st.booleans()),
        max_size=4,
    )
)
def test_a_suite_succeeds_exactly_where_the_exit_code_is_0(checks: list[Check]) -> None:
    report = judged(checks)
    suite = junit(report)
    bad = suite.findall("testcase/failure") + suite.findall("testcase/error")
    assert bool(bad) == (report.exit_code != 0)
    assert int(suite.get("failures", "")) + int(suite.get("errors", "")) == len(bad)
    assert int(suite.get("tests", "")) == len(suite.findall("testcase")) >= len(checks)


def test_a_run_cut_short_is_an_error_though_all_its_checks_passed() -> None:
    report = judged([reports.check(Status.PASS)]).model_copy(
        update={"verdict": Status.INCONCLUSIVE, "exit_code": 3, "verdict_text": "The time ran out."}
    )
    [error] = case(junit(report), "verdict")
    assert (error.tag, error.get("message")) == ("error", "The time ran out.")


def test_headline_figures_are_properties_and_unknown_ones_say_why() -> None:
    unknown = Metric(name="energy", value=None, unit="J", reason="not supported")
    report = reports.full().model_copy(update={"metrics": [unknown]})
    properties = {p.get("name"): p.get("value") for p in junit(report).iter("property")}
    assert properties["energy, J"] == "not known: not supported"
    speed = report.throughput[0].games_per_minute
    assert properties[f"{report.throughput[0].device} games/min"] == f"{speed.value:g}"
    assert report.plan is not None
    assert properties["plan, days"] == f"{report.plan.days:g}"


@given(st.text())
def test_any_text_makes_a_document_that_can_be_read(text: str) -> None:
    made = reports.check(Status.FAIL, name=text)
    made = made.model_copy(update={"observation": text, "evidence": [text]})
    [only] = junit(judged([made])).findall("testcase")
    if text.isprintable():
        assert only.get("name") == text


def test_control_characters_are_replaced() -> None:
    made = reports.check(Status.FAIL, name=HOSTILE)
    [only] = junit(judged([made])).findall("testcase")
    assert only.get("name") == HOSTILE.translate(dict.fromkeys([0x1B, 0, 0xFFFE], "\ufffd"))


# Markdown


def cells(page: str) -> list[str]:
    """The cells of tables, as a reader sees them."""
    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(page)
    inside = [t for before, t in pairwise(tokens) if before.type == "td_open"]
    for token in inside:
        assert {c.type for c in token.children or []} <= {"text", "text_special"}
    return ["".join(c.content for c in token.children or []) for token in inside]


def test_a_page_holds_what_the_report_says() -> None:
    report = reports.full()
    page = text_of(report, Format.MARKDOWN)
    assert page.startswith("## ❌ blobdiag iteration on cuda:0: FAIL\n")
    seen = cells(page)
    assert all(check.name in seen for check in report.checks)
    for words in ("629.8 to 642.5", "### Findings", "**1.70 days**", "exit code 1"):
        assert words in page


def test_a_report_cannot_mark_up_its_page() -> None:
    page = text_of(judged([reports.check(Status.FAIL, name=HOSTILE)]), Format.MARKDOWN)
    shown = HOSTILE.translate(dict.fromkeys([0x1B, 0, 0xFFFE], "\ufffd"))
    assert shown in cells(page)


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
@pytest.mark.parametrize("form", Format)
def test_saved_reports_have_every_form(path: Path, form: Format) -> None:
    report = read_report(path)
    text = text_of(report, form)
    assert text.endswith("\n")
    assert report.device in text
