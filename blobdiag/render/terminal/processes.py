"""The processes of a run: workers of an engine, or those of a watched program."""

from __future__ import annotations

from rich.console import Group, RenderableType

from blobdiag.model.report import Report
from blobdiag.model.selfplay import WorkerRecord
from blobdiag.render import processes as process_words
from blobdiag.render import words
from blobdiag.render.terminal.drawing import dim, new_table, plain


def workers(report: Report) -> RenderableType | None:
    if not report.workers:
        return None
    table = new_table("Workers", gap=1)
    for head in ("#", "pid"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("device\nasked", "params\non", "output\non", "type"):
        table.add_column(head, overflow="fold")
    for head in ("thr.", "games", "evals", "mean\nbatch"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for worker in report.workers:
        table.add_row(*map(plain, _worker(worker)))
    stacks = [
        plain(f"worker {w.worker} stalled at:\n{w.stacks}") for w in report.workers if w.stacks
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


def program(report: Report) -> RenderableType | None:
    if report.program is None:
        return None
    table = new_table("Program", header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in process_words.facts(report.program):
        table.add_row(name, plain(text))
    return table


def processes(report: Report) -> RenderableType | None:
    program = report.program
    if program is None or not program.processes:
        return None
    table = new_table("Processes", gap=1)
    for head in process_words.HEADS:
        number = head in process_words.NUMBERS
        table.add_column(
            head.replace(" ", "\n"),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for row in process_words.rows(program):
        table.add_row(*map(plain, row))
    closing = process_words.closing(program)
    return Group(table, dim(closing)) if closing else table
