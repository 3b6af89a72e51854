"""Every form of a report shows every part of a finding."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from rich.console import Console

import reports
from blobdiag.model.judgement import Finding, Gain
from blobdiag.model.output_format import Format
from blobdiag.model.report import Report
from blobdiag.render.findings import parts
from blobdiag.render.formats import text_of
from blobdiag.render.html import page
from blobdiag.render.perfetto import trace_text
from blobdiag.render.terminal import render

FINDING = Finding(
    name="the-name",
    title="The title",
    cause="The cause.",
    evidence=["first evidence", "second evidence"],
    remedy="The remedy",
    gain=Gain(minutes_per_iteration=3.2, self_play_factor=1.9, basis="the basis"),
)
PARTS = [
    "The title",
    "The cause.",
    "first evidence",
    "second evidence",
    "The remedy",
    "3.20 min per iteration, self-play 1.90 × as fast: the basis",
]


def terminal(report: Report) -> str:
    stream = io.StringIO()
    render(report, Console(file=stream, width=200))
    return stream.getvalue()


def web_page(report: Report) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page(report)))


def markdown(report: Report) -> str:
    return text_of(report, Format.MARKDOWN).replace("\\", "")


def junit(report: Report) -> str:
    return "".join(ElementTree.fromstring(text_of(report, Format.JUNIT).encode()).itertext())


def perfetto(report: Report) -> str:
    events = json.loads(trace_text(report))["traceEvents"]
    [found] = [e for e in events if e["name"] == FINDING.title]
    return "\n".join([found["name"], *found["args"].values()])


FORMS = [terminal, web_page, markdown, junit, perfetto]


@pytest.mark.parametrize("form", FORMS)
def test_all_parts_are_shown_in_one_order(form: Callable[[Report], str]) -> None:
    text = form(reports.minimal(findings=[FINDING]))
    places = [text.index(part) for part in PARTS]
    assert places == sorted(places)


@pytest.mark.parametrize("form", FORMS)
def test_parts_that_an_old_report_lacks_are_left_out(form: Callable[[Report], str]) -> None:
    old = FINDING.model_copy(update={"gain": None, "evidence": []})
    text = form(reports.minimal(findings=[old]))
    assert not re.search(r"\b(gain|seen)\b", text, re.IGNORECASE)
    assert [part.label for part in parts(old)] == ["cause", "remedy"]
