"""Judge a report: add checks, findings, verdict and plan to what was recorded.

Pure and idempotent: an earlier judgement is dropped first. The report may be of a run in progress,
of a finished run, or an old file.
"""

from __future__ import annotations

from collections.abc import Callable

from blobdiag.diagnosis.causes import find_all
from blobdiag.diagnosis.command_judgement import Judgement
from blobdiag.diagnosis.commands import check_gpu, compare, evaluate, iteration, run
from blobdiag.diagnosis.facts import gpus_in_use, with_means
from blobdiag.diagnosis.idle import idle_gaps
from blobdiag.diagnosis.program_idle import program_gaps
from blobdiag.diagnosis.validity import warning
from blobdiag.diagnosis.verdict import verdict
from blobdiag.model.base import Status
from blobdiag.model.judgement import IdleGap
from blobdiag.model.limits import longest_gaps
from blobdiag.model.names import PROJECTED_SECONDS
from blobdiag.model.recorded import EndedEarly, Event
from blobdiag.model.report import Report
from blobdiag.model.signal_names import signal_name

JUDGES: dict[str, Callable[[Report], Judgement]] = {
    "check-gpu": check_gpu.judge,
    "compare": compare.judge,
    "iteration": iteration.judge,
    "evaluate": evaluate.judge,
    "run": run.judge,
}
NO_PLAN = "no-plan"
"""Kind of the event that explains why there is no plan."""


def judge(report: Report) -> Report:
    """The report with checks, validity, findings, verdict, exit code and plan of this version."""
    report = _with_facts(report)
    judged = JUDGES.get(report.command, lambda _: Judgement())(report)
    report = report.model_copy(
        update={
            "checks": judged.checks,
            "validity": judged.validity,
            "plan": judged.plan,
            "metrics": [*report.metrics, *([judged.projected] if judged.projected else [])],
            "events": [*report.events, *_remark(report, judged)],
        }
    )
    status, code, text = _verdict(report, judged)
    report = report.model_copy(update={"verdict": status, "exit_code": code, "verdict_text": text})
    return report.model_copy(update={"findings": find_all(report)})


def _with_facts(report: Report) -> Report:
    """The report without an earlier judgement, with means and idle gaps computed anew."""
    report = report.model_copy(
        update={
            "findings": [],
            "metrics": [m for m in report.metrics if m.name != PROJECTED_SECONDS],
            "events": [event for event in report.events if event.kind != NO_PLAN],
        }
    )
    return report.model_copy(update={"phases": with_means(report), "idle_gaps": _gaps(report)})


def _gaps(report: Report) -> list[IdleGap]:
    if report.program is not None:
        return longest_gaps(program_gaps(report))
    trains = report.command == "iteration"
    uuids = iteration.trainer_gpus(report) if trains else gpus_in_use(report)
    return longest_gaps(idle_gaps(report, uuids))


def _remark(report: Report, judged: Judgement) -> list[Event]:
    if judged.remark is None:
        return []
    return [Event(at_s=report.seconds, kind=NO_PLAN, text=judged.remark)]


def _verdict(report: Report, judged: Judgement) -> tuple[Status, int, str]:
    """(verdict, exit code, the sentences that explain them)."""
    status, code, text = verdict(report.checks)
    if report.program is not None:
        return _of_a_program(report, status, code, text)
    if judged.untested is not None and status is Status.PASS:
        # The checks passed on the CPU only: that is no pass of a GPU test.
        status = Status.NOT_APPLICABLE
        text = f"The CPU's own checks passed: {text.partition(': ')[2]}"
    ended = report.failure or judged.problem
    if ended is not None and code == 0:
        status, code = Status.INCONCLUSIVE, 3
        text = "The measurement is incomplete."
    if report.ended_early is not None:
        status, code = Status.INCONCLUSIVE, report.ended_early.exit_code
        text = f"{_early(report.ended_early)} before it could be judged. So far: {text}"
    untested = judged.untested
    parts = [
        f"{ended}." if ended else "",
        "" if untested is None else f"The GPU was not tested: {untested}.",
        judged.headline,
        warning(report.validity),
        text,
    ]
    return status, code, " ".join(part for part in parts if part)


def _early(ended: EndedEarly) -> str:
    return f"The time ran out ({ended.by} s)" if ended.kind == "timed-out" else "Interrupted"


def _of_a_program(
    report: Report, status: Status, judged: int, text: str
) -> tuple[Status, int, str]:
    """The command's exit code; with `--judge` the judgement's replaces an exit code of 0."""
    program, early = report.program, report.ended_early
    assert program is not None
    if report.running:
        so_far = "The command was still running when this report was written. So far:"
        return status, judged if report.configuration.get("judge") else 0, f"{so_far} {text}"
    code = program.exit_code if program.signal is None else 128 + program.signal
    if early is not None and early.kind == "timed-out":
        code = early.exit_code
    if program.signal is not None:
        how = f"The command was killed by {signal_name(program.signal)}."
    else:
        how = f"The command ended with exit code {program.exit_code}."
    asked = bool(report.configuration.get("judge"))
    return status, code or (judged if asked else 0), f"{how} {text}"
