"""Differences between two judgements of the same report: verdict, checks, findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from blobdiag.model.base import Model
from blobdiag.model.judgement import Check, Finding
from blobdiag.model.report import Report

What = Literal["verdict", "check", "finding"]
Happened = Literal["added", "removed", "changed"]


class Edit(Model):
    """A field of a verdict, check or finding, before and after, as text."""

    field: str
    before: str
    after: str


class JudgementChange(Model):
    """A part of the judgement that was added, removed or changed."""

    what: What
    name: str
    """The check's or finding's name; "verdict" for the verdict."""
    happened: Happened
    summary: str
    """What was added or removed; empty if the part changed."""
    edits: list[Edit] = Field(default_factory=list)

    def __str__(self) -> str:
        name = self.what if self.what == self.name else f"{self.what} {self.name}"
        if self.summary:
            return f"{name} {self.happened}: {self.summary}"
        edits = "; ".join(f"{edit.field}: {edit.before} → {edit.after}" for edit in self.edits)
        return f"{name} {self.happened}: {edits}"


def changes(before: Report, after: Report) -> list[JudgementChange]:
    """All differences: verdict, checks, findings, each in the order of the later report."""
    verdicts = _verdict(before), _verdict(after)
    return [
        *_compared("verdict", *({("verdict", 0): part} for part in verdicts)),
        *_compared("check", *(_checks(report.checks) for report in (before, after))),
        *_compared("finding", *(_findings(report.findings) for report in (before, after))),
    ]


Key = tuple[str, int]
"""(name, index among the parts with that name)."""
Part = Mapping[str, str]
"""Fields as text; the first one is the summary."""


def _compared(
    what: What, before: Mapping[Key, Part], after: Mapping[Key, Part]
) -> Iterator[JudgementChange]:
    for key, part in after.items():
        if key not in before:
            yield JudgementChange(what=what, name=key[0], happened="added", summary=_summary(part))
            continue
        edits = [
            Edit(field=field, before=before[key][field], after=text)
            for field, text in part.items()
            if text != before[key][field]
        ]
        if edits:
            yield JudgementChange(
                what=what, name=key[0], happened="changed", summary="", edits=edits
            )
    for key, part in before.items():
        if key not in after:
            yield JudgementChange(
                what=what, name=key[0], happened="removed", summary=_summary(part)
            )


def _summary(part: Part) -> str:
    return next(iter(part.values()))


def _verdict(report: Report) -> Part:
    return {
        "status": report.verdict,
        "exit code": str(report.exit_code),
        "text": report.verdict_text,
    }


def _checks(checks: Sequence[Check]) -> dict[Key, Part]:
    return _keyed(
        checks,
        [
            {
                "status": check.status,
                "role": check.role,
                "expected": check.expectation,
                "observed": check.observation,
                "validity": "; ".join(rule.rule for rule in check.validity if not rule.ok) or "ok",
            }
            for check in checks
        ],
    )


def _findings(findings: Sequence[Finding]) -> dict[Key, Part]:
    return _keyed(
        findings,
        [
            {
                "title": finding.title,
                "cause": finding.cause,
                "remedy": finding.remedy,
                "evidence": "; ".join(finding.evidence),
                "gain": finding.gain.basis if finding.gain else "not predicted",
            }
            for finding in findings
        ],
    )


def _keyed(named: Sequence[Check] | Sequence[Finding], parts: Sequence[Part]) -> dict[Key, Part]:
    names = [one.name for one in named]
    return {
        (name, names[:place].count(name)): part
        for place, (name, part) in enumerate(zip(names, parts, strict=True))
    }
