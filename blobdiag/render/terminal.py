"""A report drawn for the terminal: the verdict first, then what it rests on.

Pure drawing: nothing is computed here but the form of a figure. What is not known is drawn as
"–" with its reason, never as 0; colour only repeats what a word says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from blobdiag.diagnosis import strength
from blobdiag.model.base import Role, Status
from blobdiag.model.figures import figure, figure_range
from blobdiag.model.judgement import Check, Finding
from blobdiag.model.plan import Plan
from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord
from blobdiag.model.training import TrainingRun
from blobdiag.render import processes, words
from blobdiag.render.unknowns import by_reason

MOST_NAMES = 6
"""Of metrics that are not known, a reason."""

MOST_PHASES, MOST_ITERATIONS = 60, 30
"""Rows of their tables: the newest."""

_COLOUR = {
    Status.PASS: "green",
    Status.FAIL: "red",
    Status.INCONCLUSIVE: "yellow",
    Status.NOT_APPLICABLE: "bright_black",
}


def render(report: Report, console: Console) -> None:
    """Draw every section that has content."""
    for section in _SECTIONS:
        drawn = section(report)
        if drawn is not None:
            console.print(drawn)
            console.print()


def _verdict(report: Report) -> RenderableType:
    lines = [Text(report.verdict, style=f"bold {_COLOUR[report.verdict]}")]
    lines.append(_text(report.verdict_text))
    if report.interrupted:
        lines.append(_text("Interrupted: the report holds what was measured until then."))
    lines.append(_dim(words.facts(report)))
    title = _text(f"blobdiag {report.command} on {report.device}")
    return Panel(Group(*lines), title=title, border_style=_COLOUR[report.verdict])


def _workers(report: Report) -> RenderableType | None:
    if not report.workers:
        return None
    table = _table("Workers", gap=1)
    for head in ("#", "pid"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("device\nasked", "params\non", "output\non", "type"):
        table.add_column(head, overflow="fold")
    for head in ("thr.", "games", "evals", "mean\nbatch"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for worker in report.workers:
        table.add_row(*map(_text, _worker(worker)))
    stacks = [
        _text(f"worker {w.worker} stalled at:\n{w.stacks}") for w in report.workers if w.stacks
    ]
    return Group(table, *stacks)


def _worker(worker: WorkerRecord) -> list[str]:
    return [
        str(worker.worker),
        str(worker.pid),
        worker.device_asked,
        " ".join(worker.parameter_devices) or words.UNKNOWN,
        worker.output_device or words.UNKNOWN,
        words.dtype(worker),
        words.threads(worker),
        words.count(worker.games),
        words.count(worker.evaluations),
        words.mean_batch(worker),
        worker.state,
    ]


def _program(report: Report) -> RenderableType | None:
    if report.program is None:
        return None
    table = _table("Program", header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in processes.facts(report.program):
        table.add_row(name, _text(text))
    return table


def _processes(report: Report) -> RenderableType | None:
    program = report.program
    if program is None or not program.processes:
        return None
    table = _table("Processes", gap=1)
    for head in processes.HEADS:
        number = head in processes.NUMBERS
        table.add_column(
            head.replace(" ", "\n"),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for row in processes.rows(program):
        table.add_row(*map(_text, row))
    closing = processes.closing(program)
    return Group(table, _dim(closing)) if closing else table


def _throughput(report: Report) -> RenderableType | None:
    if not report.throughput:
        return None
    table = _table("Throughput")
    table.add_column("")
    for one in report.throughput:
        table.add_column(
            f"{one.device}\n{one.dtype or words.UNKNOWN}", justify="right", overflow="fold"
        )
    for name, cell in words.THROUGHPUT_ROWS:
        table.add_row(_text(name), *(_text(cell(one)) for one in report.throughput))
    return table


def _metrics(report: Report) -> RenderableType | None:
    if not report.metrics:
        return None
    table = _table("Metrics")
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("95 % interval or reason", overflow="fold")
    for metric in report.metrics:
        value = words.UNKNOWN if metric.value is None else f"{figure(metric.value)} {metric.unit}"
        more = figure_range(metric.interval) if metric.interval else metric.reason or ""
        table.add_row(_text(metric.name), _text(value), _text(more))
    return table


def _training(report: Report) -> RenderableType | None:
    run = report.training
    if run is None:
        return None
    table = _table(words.training_title(run), gap=1)
    for name, _ in words.TRAINING_COLUMNS:
        table.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    for one in run.iterations[-MOST_ITERATIONS:]:
        table.add_row(*(_text(cell(one)) for _, cell in words.TRAINING_COLUMNS))
    return Group(table, *map(_text, words.staleness(run)), *_strength(run))


def _strength(run: TrainingRun) -> Iterator[RenderableType]:
    """Points ahead of each opponent as the training went on."""
    if strength.opponents(run):
        table = _table("Strength: points a deal ahead, by duplicate deals", gap=1)
        for head in strength.heads(run):
            table.add_column(_text(head.replace(" ", "\n")), justify="right", no_wrap=True)
        for row in strength.rows(run)[-MOST_ITERATIONS:]:
            table.add_row(*map(_text, row))
        yield table
        yield from map(_text, strength.levels(run))


def _matches(report: Report) -> RenderableType | None:
    if not report.matches:
        return None
    table = _table(words.MATCHES_TITLE, gap=1)
    for number, (head, _) in enumerate(words.MATCH_COLUMNS):
        figures = number >= words.MATCH_WORDS
        table.add_column(
            head,
            justify="right" if figures else "left",
            no_wrap=figures,
            overflow="fold",
        )
    for one in report.matches:
        table.add_row(*(_text(cell(one)) for _, cell in words.MATCH_COLUMNS))
    return table


def _phases(report: Report) -> RenderableType | None:
    if not report.phases:
        return None
    names = list(dict.fromkeys(m.name for phase in report.phases for m in phase.metrics))
    hidden = len(report.phases) - MOST_PHASES
    table = _table(
        "Phases" if hidden <= 0 else f"Phases (without the first {hidden:,}: see the JSON)"
    )
    table.add_column("phase", overflow="fold")
    table.add_column("device", overflow="fold")
    for head in ("from s", "to s", "seconds"):
        table.add_column(head, justify="right", no_wrap=True)
    for name in names:
        table.add_column(_text(name), justify="right", overflow="fold")
    for phase in report.phases[-MOST_PHASES:]:
        by_name = {metric.name: metric for metric in phase.metrics}
        table.add_row(
            _text(phase.name),
            _text(phase.device or ""),
            *(f"{s:.1f}" for s in (phase.start_s, phase.end_s, phase.seconds)),
            *(_text(words.with_unit(by_name[n]) if n in by_name else "") for n in names),
        )
    return table


def _idle_gaps(report: Report) -> RenderableType | None:
    if not report.idle_gaps:
        return None
    names = {gpu.uuid: gpu.name for gpu in report.gpus}
    title = "Idle gaps"
    if report.seconds_shortest_visible_gap is not None:
        title += f" (visible from {figure(report.seconds_shortest_visible_gap)} s up)"
    table = _table(title)
    table.add_column("device", overflow="fold")
    for head in ("from s", "to s", "seconds"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("phase", overflow="fold")
    for gap in report.idle_gaps:
        table.add_row(
            _text(names.get(gap.device, gap.device)),
            *(f"{s:.1f}" for s in (gap.start_s, gap.end_s, gap.seconds)),
            _text(gap.phase or words.UNKNOWN),
        )
    return table


def _checks(report: Report) -> RenderableType | None:
    if not report.checks:
        return None
    table = _table("Checks", header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        table.add_row(_status(check), _check(check))
    return table


def _status(check: Check) -> Text:
    if check.role is Role.ADVISORY:
        return _dim(words.ADVISORY_WORDS[check.status])
    status = Text(check.status, style=f"bold {_COLOUR[check.status]}")
    if not check.valid:
        status.append("\nnot valid", style="yellow")
    return status


def _check(check: Check) -> Text:
    lines = _text(check.name, style="bold")
    lines.append_text(_dim(f" ({check.role})"))
    lines.append_text(_text(f"\nexpected {check.expectation}"))
    lines.append_text(_dim(f" · {check.source}"))
    lines.append_text(_text(f"\nobserved {check.observation}"))
    for line in check.evidence:
        lines.append_text(_dim(f"\n· {line}"))
    for rule in check.validity:
        if not rule.ok:
            broken = f"\nnot valid: {rule.rule}: {rule.observed}, needed {rule.needed}"
            lines.append_text(_text(broken))
    return lines


def _findings(report: Report) -> RenderableType | None:
    if not report.findings:
        return None
    return Group(_heading("Findings"), *map(_finding, report.findings))


def _finding(finding: Finding) -> RenderableType:
    table = _table(None, header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("found", style="bold red"), _text(finding.title, style="bold"))
    table.add_row("", _dim(finding.name))
    table.add_row("cause", _text(finding.cause))
    for line in finding.evidence:
        table.add_row("seen", _text(line))
    table.add_row("remedy", _text(finding.remedy, style="bold"))
    if finding.gain is not None:
        table.add_row("gain", _text(words.gain(finding.gain)))
    return table


def _verification(report: Report) -> RenderableType | None:
    seen = report.verification
    if seen is None:
        return None
    table = _table(f"Fix verified: {seen.finding}", header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("applied", _text(seen.remedy))
    table.add_row("before", _text(f"{words.with_unit(seen.before)} {words.interval(seen.before)}"))
    table.add_row("after", _text(f"{words.with_unit(seen.after)} {words.interval(seen.after)}"))
    predicted = words.known(seen.predicted, "it could not be predicted")
    table.add_row("predicted", _text(f"self-play {predicted} × as fast"))
    realised = _text(
        f"{words.with_unit(seen.realised)} {words.interval(seen.realised)}", style="bold"
    )
    table.add_row("realised", realised)
    return table


def _validity(report: Report) -> RenderableType | None:
    """All rules of the run, only where one is broken: each broken one explains a result."""
    if all(rule.ok for rule in report.validity):
        return None
    table = _table("Validity of the evidence")
    table.add_column("", no_wrap=True)
    for head in ("rule", "observed", "needed"):
        table.add_column(head, overflow="fold")
    for rule in report.validity:
        kept = _dim("kept") if rule.ok else Text("broken", style="bold yellow")
        table.add_row(kept, _text(rule.rule), _text(rule.observed), _text(rule.needed))
    return table


def _plan(report: Report) -> RenderableType | None:
    plan = report.plan
    if plan is None:
        return None
    parts: list[RenderableType] = [
        _heading("Plan"),
        _text(words.plan_summary(plan), style="bold"),
        _text(words.plan_doubt(plan)),
        Text(),
        _terms(plan),
    ]
    if plan.scenarios:
        parts += [Text(), _scenarios(plan)]
    return Group(*parts)


def _terms(plan: Plan) -> RenderableType:
    table = _table(None)
    table.add_column("term", overflow="fold")
    for head in ("min", "share", "days saved\nif free"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("formula", overflow="fold")
    for term in plan.terms:
        table.add_row(
            _text(term.name),
            figure(term.minutes),
            f"{100 * term.share:.0f} %",
            figure(term.days_saved_if_free),
            _text(term.formula),
        )
    return table


def _scenarios(plan: Plan) -> RenderableType:
    table = _table("For comparison")
    table.add_column("scenario", overflow="fold")
    for head in ("games/min", "days"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("assuming", overflow="fold")
    for scenario in plan.scenarios:
        table.add_row(
            _text(scenario.name),
            figure_range(scenario.games_per_minute),
            figure_range(scenario.days),
            _text(scenario.assumption),
        )
    return table


def _environment(report: Report) -> RenderableType:
    table = _table("Environment", header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in words.environment(report):
        table.add_row(name, _text(text))
    for line in _not_known(report):
        table.add_row("not known", _text(line))
    return table


def _not_known(report: Report) -> list[str]:
    """A line a reason, with the metrics' names, those of several GPUs or processes told once."""
    short = ((_short(name), reason) for name, reason in report.unsupported.items())
    return [f"{_listed(names)}: {reason}" for reason, names in by_reason(short).items()]


def _short(metric: str) -> str:
    """Without the GPU or process it is of: `gpu/<uuid>/sm_clock` is told as `sm_clock`."""
    of_one = metric.startswith(("gpu/", "process/")) and metric.count("/") > 1
    return metric.rpartition("/")[2] if of_one else metric


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    rest = f" and {more:,} more (see the JSON)" if more > 0 else ""
    return ", ".join(names[:MOST_NAMES]) + rest


def _events(report: Report) -> RenderableType | None:
    if not report.events:
        return None
    table = _table("Events")
    table.add_column("at s", justify="right", no_wrap=True)
    table.add_column("kind", overflow="fold")
    table.add_column("what happened", overflow="fold")
    for event in report.events:
        # The stack of a failure is in the file.
        lines = event.text.strip().splitlines()[-1:] if event.kind == "failed" else [event.text]
        table.add_row(f"{event.at_s:.1f}", _text(event.kind), _text("".join(lines)))
    return table


_SECTIONS: Sequence[Callable[[Report], RenderableType | None]] = (
    _verdict,
    _program,
    _processes,
    _workers,
    _throughput,
    _matches,
    _training,
    _metrics,
    _phases,
    _idle_gaps,
    _checks,
    _validity,
    _findings,
    _verification,
    _plan,
    _environment,
    _events,
)


def _table(title: str | None, header: bool = True, gap: int = 2) -> Table:
    return Table(
        title=None if title is None else _heading(title),
        title_justify="left",
        box=SIMPLE_HEAD if header else None,
        show_header=header,
        show_edge=False,
        # The box itself parts columns by one space.
        padding=(0, gap - 1 if header else gap, 0, 0),
        pad_edge=False,
    )


def _heading(title: str) -> Text:
    return Text(title, style="bold underline")


def _text(value: str, style: str = "") -> Text:
    """A report's own words, in which neither markup nor a control character has an effect."""
    return Text(words.printable(value), style=style)


def _dim(value: str) -> Text:
    return _text(value, style="bright_black")
