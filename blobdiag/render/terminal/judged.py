"""What was concluded: the verdict, checks, validity, findings, a verified fix."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from blobdiag.model.base import Role
from blobdiag.model.judgement import Check, Finding
from blobdiag.model.report import Report
from blobdiag.render import words
from blobdiag.render.findings import parts
from blobdiag.render.terminal.drawing import COLOURS, dim, heading, new_table, plain


def verdict(report: Report) -> RenderableType:
    lines = [Text(report.verdict, style=f"bold {COLOURS[report.verdict]}")]
    lines.append(plain(report.verdict_text))
    if report.interrupted:
        lines.append(plain("Interrupted: the report holds what was measured until then."))
    lines.append(dim(words.facts(report)))
    title = plain(f"blobdiag {report.command} on {report.device}")
    return Panel(Group(*lines), title=title, border_style=COLOURS[report.verdict])


def checks(report: Report) -> RenderableType | None:
    if not report.checks:
        return None
    table = new_table("Checks", header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        table.add_row(_status(check), _check(check))
    return table


def _status(check: Check) -> Text:
    if check.role is Role.ADVISORY:
        return dim(words.ADVISORY_WORDS[check.status])
    status = Text(check.status, style=f"bold {COLOURS[check.status]}")
    if not check.valid:
        status.append("\nnot valid", style="yellow")
    return status


def _check(check: Check) -> Text:
    lines = plain(check.name, style="bold")
    lines.append_text(dim(f" ({check.role})"))
    lines.append_text(plain(f"\nexpected {check.expectation}"))
    lines.append_text(dim(f" · {check.source}"))
    lines.append_text(plain(f"\nobserved {check.observation}"))
    for line in check.evidence:
        lines.append_text(dim(f"\n· {line}"))
    for rule in check.validity:
        if not rule.ok:
            broken = f"\nnot valid: {rule.rule}: {rule.observed}, needed {rule.needed}"
            lines.append_text(plain(broken))
    return lines


def validity(report: Report) -> RenderableType | None:
    """All rules of the run, only where one is broken: each broken one explains a result."""
    if all(rule.ok for rule in report.validity):
        return None
    table = new_table("Validity of the evidence")
    table.add_column("", no_wrap=True)
    for head in ("rule", "observed", "needed"):
        table.add_column(head, overflow="fold")
    for rule in report.validity:
        state = dim("met") if rule.ok else Text("broken", style="bold yellow")
        table.add_row(state, plain(rule.rule), plain(rule.observed), plain(rule.needed))
    return table


def findings(report: Report) -> RenderableType | None:
    if not report.findings:
        return None
    return Group(heading("Findings"), *map(_finding, report.findings))


def _finding(finding: Finding) -> RenderableType:
    table = new_table(None, header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("found", style="bold red"), plain(finding.title, style="bold"))
    table.add_row("", dim(finding.name))
    for part in parts(finding):
        for line in part.lines:
            table.add_row(part.label, plain(line, style="bold" if part.strong else ""))
    return table


def verification(report: Report) -> RenderableType | None:
    seen = report.verification
    if seen is None:
        return None
    table = new_table(f"Fix verified: {seen.finding}", header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("applied", plain(seen.remedy))
    table.add_row("before", plain(f"{words.with_unit(seen.before)} {words.interval(seen.before)}"))
    table.add_row("after", plain(f"{words.with_unit(seen.after)} {words.interval(seen.after)}"))
    predicted = words.known(seen.predicted, "it could not be predicted")
    table.add_row("predicted", plain(f"self-play {predicted} × as fast"))
    realised = plain(
        f"{words.with_unit(seen.realised)} {words.interval(seen.realised)}", style="bold"
    )
    table.add_row("realised", realised)
    return table
