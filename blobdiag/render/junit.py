"""A report as JUnit XML: one suite, a case for each check.

A suite has a failure or an error exactly where the report's exit code is not 0, except for a
watched program without `--judge`, whose exit code is the program's. A deciding check that failed on
valid evidence is a failure; one that could not be judged, or whose evidence is invalid, is an
error: skipped, it would look like success. Checks that do not apply, and advisory ones out of their
range, are skipped, with what was observed.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from blobdiag.model.base import Metric, Role, Status
from blobdiag.model.judgement import Check, Finding
from blobdiag.model.report import Report
from blobdiag.render.findings import parts

# What XML 1.0 allows (https://www.w3.org/TR/xml/#charsets).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(report: Report) -> str:
    """The XML, ending in a line break; seconds are in `time`, headline figures are properties."""
    name = f"blobdiag {report.command} on {report.device}"
    suite = _element(
        "testsuite", name=name, time=f"{report.seconds:.3f}", timestamp=report.started_utc
    )
    _properties(SubElement(suite, "properties"), report)
    cases = [_case(check, report) for check in report.checks]
    decided = any(case.find(kind) is not None for case in cases for kind in ("failure", "error"))
    if report.exit_code != 0 and not decided:
        cases.append(_undecided(report))
    suite.extend(cases)
    findings = "\n\n".join(map(_finding, report.findings))
    _child(suite, "system-out", "\n\n".join(filter(None, [report.verdict_text, findings])))
    counts = {
        count: str(len(suite.findall(path)))
        for count, path in (
            ("tests", "testcase"),
            ("failures", "testcase/failure"),
            ("errors", "testcase/error"),
            ("skipped", "testcase/skipped"),
        )
    }
    suite.attrib |= counts
    root = _element("testsuites", **counts)
    root.append(suite)
    indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _properties(properties: Element, report: Report) -> None:
    values = {
        "verdict": report.verdict.value,
        "exit code": str(report.exit_code),
        "device": report.device,
        "gpu": ", ".join(gpu.name for gpu in report.gpus) or f"not known: {report.gpu_reason}",
        "torch": report.software.torch,
    }
    for throughput in report.throughput:
        for metric in (throughput.games_per_minute, throughput.evaluations_per_second):
            values[f"{throughput.device} {metric.unit}"] = _value(metric)
            if metric.interval is not None:
                low, high = metric.interval.low, metric.interval.high
                values[f"{throughput.device} {metric.unit}, 95 %"] = f"{low:g} to {high:g}"
    for metric in report.metrics:
        values[f"{metric.name}, {metric.unit}"] = _value(metric)
    if report.plan is not None:
        values["plan, days"] = f"{report.plan.days:g}"
    for name, value in values.items():
        properties.append(_element("property", name=name, value=value))


def _value(metric: Metric) -> str:
    return f"not known: {metric.reason}" if metric.value is None else f"{metric.value:g}"


def _case(check: Check, report: Report) -> Element:
    case = _element("testcase", name=check.name, classname=f"blobdiag.{report.command}")
    kind = _kind(check)
    if kind is not None:
        problem = SubElement(case, kind)
        problem.attrib = _clean(message=_message(check), type=check.status.value)
        problem.text = _xml(_details(check))
    return case


def _kind(check: Check) -> str | None:
    """The element inside the case; None: it passed."""
    if check.status is Status.NOT_APPLICABLE:
        return "skipped"
    if check.role is Role.ADVISORY:
        return None if check.status is Status.PASS else "skipped"
    if check.status is Status.INCONCLUSIVE or not check.valid:
        return "error"
    return "failure" if check.status is Status.FAIL else None


def _message(check: Check) -> str:
    broken = next((rule for rule in check.validity if not rule.ok), None)
    if check.role is Role.DECIDING and broken is not None:
        return f"not valid: {broken.rule}: {broken.observed}, needed {broken.needed}"
    return f"{check.role.value}: {check.observation} (expected: {check.expectation})"


def _details(check: Check) -> str:
    lines = [f"expected {check.expectation} ({check.source})", f"observed {check.observation}"]
    lines += check.evidence
    lines += [
        f"not valid: {rule.rule}: {rule.observed}, needed {rule.needed}"
        for rule in check.validity
        if not rule.ok
    ]
    return "\n".join(lines)


def _undecided(report: Report) -> Element:
    """A case for the verdict, where no check explains the exit code."""
    case = _element("testcase", name="verdict", classname=f"blobdiag.{report.command}")
    case.append(_element("error", message=report.verdict_text, type=report.verdict.value))
    return case


def _finding(finding: Finding) -> str:
    lines = [f"{part.label}: {line}" for part in parts(finding) for line in part.lines]
    return "\n".join([finding.title, *lines])


def _element(tag: str, **attributes: str) -> Element:
    return Element(tag, _clean(**attributes))


def _child(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = _xml(text)


def _clean(**attributes: str) -> dict[str, str]:
    return {name: _xml(value) for name, value in attributes.items()}


def _xml(text: str) -> str:
    """Without the characters that no XML document may hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
