"""`blobdiag run -- CMD`: watch any program, and say what its processes compute where."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from uuid import uuid4

from blobdiag.diagnosis.expectations import Expectation, with_overrides
from blobdiag.measure.output_path import html_path, report_file
from blobdiag.model.errors import UserError
from blobdiag.model.report import Report
from blobdiag.model.report_files import (
    ReportError,
    mask_text,
    rewrite_report,
    write_new,
    write_report,
)
from blobdiag.render.formats import Format, text_of
from blobdiag.sampling.paced import Paced
from blobdiag.targets.program.command import CannotStart, Command
from blobdiag.targets.program.environment import INJECTED, environment
from blobdiag.targets.program.expected import expected_device
from blobdiag.targets.program.process_records import masked
from blobdiag.targets.program.report_builder import COMMAND, Assignment, Ending, Teller
from blobdiag.targets.program.signals import ENDING, Signals, name_of
from blobdiag.targets.program.watch import Watch

MARK = "BLOBDIAG_RUN"
"""A variable by which the program's processes are known, whoever their parent is."""

TIMED_OUT = 124
"""Exit code, as timeout(1) has it."""

LOOK_SECONDS, LOOK_SHARE = 0.1, 0.007
READ_SECONDS, READ_SHARE = 1.0, 0.003
REPORT_SECONDS, REPORT_SHARE = 5.0, 0.005
"""How often at most, and of a core how much at most (see Paced)."""

PATIENCE_SECONDS = 10.0
"""What a command whose time ran out gets to end by itself."""

MOST_FINDINGS = 3
"""At the end, on stderr; all are in the report."""


@dataclass(frozen=True)
class RunSettings:
    """The options of `blobdiag run`; see its help."""

    expect_device: str | None
    expect: tuple[str, ...]
    judge: bool
    instrument: bool
    count_every: int
    timeout: float | None
    label: str | None
    output: Path | None
    format: Format | None
    html: bool
    quiet: bool

    def check(self) -> None:
        """Raise UserError, in one line, for the first value that cannot be."""
        if self.count_every < 1:
            raise UserError(f"--count-every must be at least 1, not {self.count_every}")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise UserError(f"--timeout must be above 0, not {self.timeout:g}")
        self.expectations()

    def expectations(self) -> dict[str, Expectation]:
        """By name, with `--expect` applied. Raises UserError for a bad override."""
        try:
            return with_overrides(self.expect)
        except ValueError as error:
            raise UserError(str(error)) from None


def run(command: Sequence[str], settings: RunSettings) -> int:
    """Run a command, watched, and write the report; its exit code, or ours where it judges.

    Raises UserError, before anything starts.
    """
    settings.check()
    kind, words = expected_device(settings.expect_device, command)
    with TemporaryDirectory(prefix="blobdiag-", ignore_cleanup_errors=True) as folder:
        given, injected = _environment(Path(folder), settings)
        assignment = Assignment(
            command=command,
            expected_device=kind,
            expected_by=words,
            injected=injected,
            expectations=settings.expectations(),
            label=settings.label,
            count_every=settings.count_every,
            configuration={
                "program": masked(command),
                "instrument": settings.instrument,
                "count_every": settings.count_every,
                "timeout": settings.timeout,
                "expect": " ".join(settings.expect) or None,
            },
        )
        path = report_file(COMMAND, assignment.device, settings.output, settings.html)
        watch = Watch(Path(folder), assignment.idle_threshold)
        return _Run(assignment, watch, settings, path).run(given)


def _environment(folder: Path, settings: RunSettings) -> tuple[dict[str, str], Path | None]:
    """(the command's environment, the folder in it that brings the instrumentation, if any)."""
    marked = {**os.environ, MARK: uuid4().hex}
    if not settings.instrument:
        return marked, None
    return environment(marked, folder, settings.count_every), INJECTED


class _Run:
    """One command, from before its start to after its end."""

    def __init__(
        self, assignment: Assignment, watch: Watch, settings: RunSettings, path: Path
    ) -> None:
        self._assignment, self._watch, self._settings = assignment, watch, settings
        self._path = path
        self._signals = Signals()
        self._timed_out = False
        self._lost_sight = False
        """A part of the watching failed: what it has not seen may decide nothing."""
        self._written = False

    def run(self, given: dict[str, str]) -> int:
        with self._signals.taken():
            try:
                self._watch.recorder.start()
                self._teller = Teller(self._assignment, self._watch)
                if self._signals.came:
                    return 128 + self._signals.came[0]
                self._watch.begin()
                try:
                    command = Command(self._assignment.command, given)
                except CannotStart as error:
                    say(f"blobdiag: {error}\n")
                    return error.exit_code
                self._watch.follow(command.pid, (MARK, given[MARK]))
                ending = self._until_its_end(command)
            finally:
                self._watch.recorder.stop()
            with suppress(OSError):  # it was told of where it went wrong first
                self._watch.read_inside()
            if self._lost_sight:
                self._watch.accounts.lose_sight()
            return self._publish(self._teller.report(ending, self._settings.judge))

    def _until_its_end(self, command: Command) -> Ending:
        look = Paced(self._watch.look, LOOK_SECONDS, LOOK_SHARE)
        read = Paced(self._watch.read_inside, READ_SECONDS, READ_SHARE)
        write = Paced(self._write_so_far, REPORT_SECONDS, REPORT_SHARE)
        limit = self._settings.timeout or float("inf")
        deadline = monotonic() + limit
        while not command.ended:
            for number in self._signals.to_pass_on():
                self._teller.event("signal", f"{name_of(number)} was passed on to the command")
                command.send(number)
            if monotonic() >= deadline:
                self._end_early(command)
                deadline = monotonic() + PATIENCE_SECONDS
            for work in (look, read, write):
                self._do(work)
            self._signals.wait(min(look.due, read.due, write.due, deadline) - monotonic())
        self._watch.look()
        returncode = command.collect()
        self._tell_stragglers()
        cut = self._cut()
        if cut is not None:
            self._teller.event("interrupted", cut)
        code = returncode if returncode >= 0 else 128 - returncode
        return Ending(returncode, TIMED_OUT if self._timed_out else code, cut)

    def _do(self, work: Paced) -> None:
        """A part of the watching, if it is due; where it fails, the command goes on without it."""
        try:
            work.run_if_due()
        except Exception as error:
            work.due = float("inf")
            self._lost_sight = True
            self._teller.event("failed", mask_text(f"watching in part: {error!r}"))

    def _cut(self) -> str | None:
        """What came from outside to end the command early."""
        if self._timed_out:
            return f"--timeout {self._settings.timeout:g}"
        return next((name_of(n) for n in self._signals.came if n in ENDING), None)

    def _end_early(self, command: Command) -> None:
        """Its time ran out: first politely, at the second call with all its processes by force."""
        if not self._timed_out:
            self._timed_out = True
            self._teller.event("timed-out", f"{self._cut()}: SIGTERM was sent to the command")
            command.send(signal.SIGTERM)
            return
        self._teller.event("timed-out", "SIGKILL was sent to the command and its processes")
        self._watch.look()
        _kill({command.pid, *(process.pid for process in self._watch.alive)})

    def _tell_stragglers(self) -> None:
        """Processes that outlive the command are not ours to end, unless its time ran out."""
        left = self._watch.stragglers()
        runs_on = "was killed" if self._timed_out else "runs on"
        for process in left:
            told = f"{process.pid} ({masked(process.arguments)})"
            self._teller.event("outlived", f"process {told} outlived the command, and {runs_on}")
        if self._timed_out:
            _kill(process.pid for process in left)

    def _write_so_far(self) -> None:
        """Leave a report for the case that nobody is there to write one later."""
        try:
            self._write(self._teller.report(None, self._settings.judge))
        except ReportError as error:
            self._teller.event("report", f"it could not be written meanwhile: {error}")

    def _write(self, report: Report) -> None:
        """Raises ReportError."""
        if self._written:
            rewrite_report(report, self._path)
        else:
            numbered = self._settings.output is None
            self._path = write_report(report, self._path, numbered=numbered)
            self._written = True

    def _publish(self, report: Report) -> int:
        """Write the report and say on stderr what it came to: stdout is the command's alone."""
        paths = []
        try:
            self._write(report)
            paths.append(self._path)
            if self._settings.html:
                from blobdiag.render.html import page

                paths.insert(0, html_path(self._path))
                write_new(paths[0], page(report).encode())
        except ReportError as error:
            say(f"blobdiag: the report could not be written: {error}\n")
            return report.exit_code or 2
        if self._settings.format:
            say(text_of(report, self._settings.format))
        elif not self._settings.quiet:
            say("".join(f"blobdiag: {line}\n" for line in closing_lines(report)))
        say("".join(f"{written}\n" for written in paths))
        return report.exit_code


def say(text: str) -> None:
    """On stderr; where nobody reads it any more, or it was closed, the exit code stays the same."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        # What could not be written would be tried again at the end, and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def closing_lines(report: Report) -> list[str]:
    """What a report came to, in few lines."""
    lines = [f"{report.verdict.value}: {report.verdict_text}"]
    for finding in report.findings[:MOST_FINDINGS]:
        lines += [f"found: {finding.title}", f"  remedy: {finding.remedy}"]
    if len(report.findings) > MOST_FINDINGS:
        lines.append(f"and {len(report.findings) - MOST_FINDINGS} more findings in the report")
    return lines
