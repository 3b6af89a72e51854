"""A report as Markdown: a page that fits GitHub's job summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from blobdiag.model.base import Metric, Role, Status
from blobdiag.model.figures import figure, figure_range
from blobdiag.model.judgement import Check, Finding
from blobdiag.model.plan import Plan
from blobdiag.model.program import Program
from blobdiag.model.report import Report
from blobdiag.model.training import Match
from blobdiag.render import processes
from blobdiag.render.findings import parts
from blobdiag.render.shortened import shortened
from blobdiag.render.words import MATCH_COLUMNS, UNKNOWN, interval, printable, value

_MARKS = {
    Status.PASS: "✅",
    Status.FAIL: "❌",
    Status.INCONCLUSIVE: "⚠️",
    Status.NOT_APPLICABLE: "➖",
}
# Characters that GitHub's Markdown reads as markup inside a line, formulas and HTML included.
_MARKUP = re.compile(r"([\\`*_\[\]<>|~$&])")


def document(report: Report) -> str:
    """The page, ending in a line break: verdict, throughput, checks, findings, plan."""
    report = shortened(report)
    parts = [
        f"## {_MARKS[report.verdict]} {escaped(f'blobdiag {report.command} on {report.device}')}: "
        f"{report.verdict.value}",
        escaped(report.verdict_text),
        *_program(report.program),
        *_throughput(report),
        *_metrics(report.metrics),
        *_matches(report.matches),
        *_checks(report.checks),
        *_findings(report.findings),
        *_plan(report.plan),
        _where(report),
    ]
    return "\n\n".join(parts) + "\n"


def _program(program: Program | None) -> Iterator[str]:
    if program is not None:
        yield table(("program", ""), processes.facts(program))
        yield table(processes.HEADS, processes.rows(program))
        if closing := processes.closing(program):
            yield escaped(closing)


def _throughput(report: Report) -> Iterator[str]:
    if report.throughput:
        rows = [
            (
                f"{one.device}, {one.dtype or UNKNOWN}",
                value(one.games_per_minute),
                interval(one.games_per_minute),
                value(one.evaluations_per_second),
                UNKNOWN if one.mean_batch is None else figure(one.mean_batch),
                _share(one.search_health.distinct_share),
            )
            for one in report.throughput
        ]
        head = ("device", "games/min", "95 % interval", "evals/s", "mean batch", "distinct")
        yield table(head, rows, numbers=True)


def _metrics(metrics: Sequence[Metric]) -> Iterator[str]:
    if metrics:
        rows = [(m.name, f"{value(m)} {m.unit if m.value is not None else ''}") for m in metrics]
        yield table(("metric", "value"), rows)


def _matches(matches: Sequence[Match]) -> Iterator[str]:
    if matches:
        rows = [[cell(one) for _, cell in MATCH_COLUMNS] for one in matches]
        yield table([head for head, _ in MATCH_COLUMNS], rows)


def _checks(checks: Sequence[Check]) -> Iterator[str]:
    if checks:
        yield "### Checks"
        rows = [(_status(c), c.name, c.expectation, _observed(c)) for c in checks]
        yield table(("", "check", "expected", "observed"), rows)


def _status(check: Check) -> str:
    if check.role is Role.ADVISORY:
        return "advisory" if check.status is not Status.FAIL else "advisory, out of range"
    return f"{_MARKS[check.status]} {check.status.value}{'' if check.valid else ', not valid'}"


def _observed(check: Check) -> str:
    broken = [
        f"not valid: {rule.rule}: {rule.observed}, needed {rule.needed}"
        for rule in check.validity
        if not rule.ok
    ]
    return "\n".join([check.observation, *broken])


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    if findings:
        yield "### Findings"
    for finding in findings:
        lines = [
            f"- {part.label}: {f'**{escaped(line)}**' if part.strong else escaped(line)}"
            for part in parts(finding)
            for line in part.lines
        ]
        yield "\n".join([f"**{escaped(finding.title)}**", "", *lines])


def _plan(plan: Plan | None) -> Iterator[str]:
    if plan is not None:
        yield "### Plan"
        between = f" ({figure_range(plan.days_interval)})" if plan.days_interval else ""
        yield (
            f"**{figure(plan.days)} days**{between} for {plan.iterations:,} iterations of "
            f"{plan.games_per_iteration:,} games"
        )
        rows = [(t.name, figure(t.minutes), f"{100 * t.share:.0f} %") for t in plan.terms]
        yield table(("term", "min", "share"), rows, numbers=True)


def _where(report: Report) -> str:
    """Time, machine and versions, in a line."""
    machine, software = report.machine, report.software
    gpus = ", ".join(gpu.name for gpu in report.gpus) or f"no GPU known ({report.gpu_reason})"
    facts = (
        f"{report.started_utc}, {report.seconds:.1f} s, exit code {report.exit_code}",
        f"{machine.cpu}, {machine.cores_usable} of {machine.cores_total} cores usable",
        gpus,
        f"torch {software.torch}, blobdiag {software.blobdiag}",
    )
    return " · ".join(map(escaped, facts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """A table with escaped cells; with `numbers`, all columns but the first are right-aligned."""
    rule = ["---", *["---:" if numbers else "---"] * (len(head) - 1)]
    lines = [head, rule, *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def escaped(text: str) -> str:
    """Text without markup; line breaks stay."""
    shown = printable(text)
    return _MARKUP.sub(r"\\\1", shown).replace("\n", "<br>")
