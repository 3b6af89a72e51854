"""`blobdiag run -- CMD`: run any program, watched, from before its start to after its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic
from uuid import uuid4

from blobdiag.measure.program_report import Ending, Watched, bare_report, program_report
from blobdiag.measure.recording import Recording
from blobdiag.model.masking import Value
from blobdiag.model.program_settings import ProgramSettings
from blobdiag.model.recorded import EndedEarly
from blobdiag.model.report import Report
from blobdiag.model.report_files import ReportError
from blobdiag.model.signal_names import signal_name
from blobdiag.sampling.paced import Paced
from blobdiag.targets.program.command import RunningCommand, in_our_place
from blobdiag.targets.program.environment import INJECTED, environment
from blobdiag.targets.program.expected_device import expected_device
from blobdiag.targets.program.process_records import shown_command
from blobdiag.targets.program.signals import ENDING, Signals
from blobdiag.targets.program.watch import Watch
from blobdiag.targets.temporary_folder import TemporaryFolder

COMMAND = "run"
ANY_DEVICE = "any device"

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

Interim = Callable[[Report], None]
"""Takes an unjudged report while the command runs. Raises ReportError."""
Finish = Callable[[Report], int]
"""Takes the last one; the exit code."""
Say = Callable[[str], None]
"""Writes a line to stderr."""


def device_of(command: Sequence[str], settings: ProgramSettings) -> str:
    """What a report of the command calls its device. Raises UserError for a bad option."""
    return expected_device(settings.expect_device, command)[0] or ANY_DEVICE


def run(
    command: Sequence[str],
    settings: ProgramSettings,
    interim: Interim,
    finish: Finish,
    say: Say,
) -> int:
    """Run a command, watched; what `finish` makes of its report.

    Where it cannot be watched it is run in our place, and where no report can be made of it, its
    exit code is ours; `say` gets a line that says why.
    Raises UserError before anything starts, and CannotStart where the command does not.
    """
    kind, words = expected_device(settings.expect_device, command)
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(TemporaryFolder())
            given, injected = _environment(folder, settings)
            watched = Watched(command, kind, words, injected, settings)
            one = _Run(watched, Watch(folder), interim, say)
            stack.enter_context(one.prepared())
        except Exception as error:
            reason = one_line(error)
        else:
            try:
                return one.run(given, finish)
            except CannotWatch as error:
                reason = str(error)
    asked = {"--timeout": settings.timeout is not None, "--judge": settings.judge}
    without = " or ".join(name for name, given in asked.items() if given)
    limits = f", without {without}" if without else ""
    say(f"the command is run without being watched{limits}: {reason}")
    return in_our_place(command)


class CannotWatch(Exception):
    """What watching takes is not there: files, processes, memory. The command has not begun."""


def one_line(error: Exception) -> str:
    """An error in a line of bounded length."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:200]


def _configuration(watched: Watched) -> dict[str, Value]:
    settings = watched.settings
    return {
        "program": shown_command(watched.command, settings.record_arguments),
        "instrument": settings.instrument,
        "count_every": settings.count_every,
        "timeout": settings.timeout,
        "expect": " ".join(settings.expect) or None,
        "judge": settings.judge,
        "record_arguments": settings.record_arguments,
    }


def _environment(folder: Path, settings: ProgramSettings) -> tuple[dict[str, str], Path | None]:
    """(the command's environment, the folder in it that brings the instrumentation, if any)."""
    marked = {**os.environ, MARK: uuid4().hex}
    if not settings.instrument:
        return marked, None
    return environment(marked, folder, settings.count_every), INJECTED


class _Run:
    """One command, from before its start to after its end."""

    def __init__(self, watched: Watched, watch: Watch, interim: Interim, say: Say) -> None:
        self._watched, self._watch, self._interim, self._say = watched, watch, interim, say
        self._recording = Recording(
            COMMAND,
            watched.expected_device or ANY_DEVICE,
            _configuration(watched),
            watched.settings.label,
            watch.trace,
            watch.recorder,
        )
        self._signals = Signals()
        self._timed_out = False
        self._incomplete = False
        """A part of the watching failed: what it has not seen may decide nothing."""

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Inside, signals are handled and the sampler runs; raises what either raises."""
        with self._signals.handled():
            try:
                self._watch.recorder.start()
                # Looked at before the command starts: it takes a moment.
                _ = self._recording.machine, self._recording.software
                yield
            finally:
                self._watch.recorder.stop()

    def run(self, given: dict[str, str], finish: Finish) -> int:
        """Inside `prepared`. Raises CannotStart, and CannotWatch."""
        if self._signals.received:
            return 128 + self._signals.received[0]
        self._watch.begin()
        try:
            command = RunningCommand(self._watched.command, given)
        except OSError as error:
            raise CannotWatch(one_line(error)) from None
        # From here on the command's end is all that ends us.
        self._attempt(lambda: self._watch.follow(command.pid, (MARK, given[MARK])))
        ending = self._until_its_end(command)
        self._attempt(self._watch.recorder.stop)
        self._attempt(self._watch.read_inside)
        if self._incomplete:
            self._attempt(self._watch.counts.mark_incomplete)
        return self._finish(ending, finish)

    def _finish(self, ending: Ending, finish: Finish) -> int:
        """The whole report, or else the little that is known without what was seen."""
        try:
            return finish(self._report(ending))
        except Exception as error:
            reason = one_line(error)
        try:
            code = finish(bare_report(self._recording, self._watched, ending, reason))
        except Exception as error:
            self._say(f"no report can be made: {one_line(error)}")
            return ending.exit_code
        self._say(f"the report lacks what was seen of the command: {reason}")
        return code

    def _report(self, ending: Ending | None) -> Report:
        return program_report(self._recording, self._watched, self._watch, ending)

    def _until_its_end(self, command: RunningCommand) -> Ending:
        look = Paced(self._watch.look, LOOK_SECONDS, LOOK_SHARE)
        read = Paced(self._watch.read_inside, READ_SECONDS, READ_SHARE)
        write = Paced(self._write_so_far, REPORT_SECONDS, REPORT_SHARE)
        limit = self._watched.settings.timeout or float("inf")
        deadline = monotonic() + limit
        while not command.ended:
            for number in self._signals.take_to_forward():
                self._recording.event(
                    "signal", f"{signal_name(number)} was forwarded to the command"
                )
                command.send(number)
            if monotonic() >= deadline:
                self._end_early(command)
                deadline = monotonic() + PATIENCE_SECONDS
            for work in (look, read, write):
                self._do(work)
            self._signals.wait(min(look.due, read.due, write.due, deadline) - monotonic())
        self._attempt(self._watch.look)
        returncode = command.collect()
        self._attempt(self._tell_stragglers)
        if (by := self._ended_by()) is not None:
            self._recording.event("interrupted", by)
        return Ending(returncode, self._early(returncode))

    def _do(self, work: Paced) -> None:
        """A part of the watching, if it is due; where it fails, the command goes on without it."""
        if not self._attempt(work.run_if_due):
            work.due = float("inf")

    def _attempt(self, work: Callable[[], object]) -> bool:
        """Whether a part of the watching could be done."""
        try:
            work()
        except Exception as error:
            self._incomplete = True
            text = f"watching in part: {error!r}"
            if text not in (said for _, _, said in self._recording.events):
                self._recording.event("failed", text)
            return False
        return True

    def _early(self, returncode: int) -> EndedEarly | None:
        """What ended the command early, if anything did, with the exit code of that."""
        by = self._ended_by()
        if by is None:
            return None
        if self._timed_out:
            return EndedEarly(kind="timed-out", by=by, exit_code=TIMED_OUT)
        code = returncode if returncode >= 0 else 128 - returncode
        return EndedEarly(kind="interrupted", by=by, exit_code=code)

    def _ended_by(self) -> str | None:
        """What came from outside to end the command early."""
        if self._timed_out:
            return f"--timeout {self._watched.settings.timeout:g}"
        return next((signal_name(n) for n in self._signals.received if n in ENDING), None)

    def _end_early(self, command: RunningCommand) -> None:
        """Its time ran out: first politely, at the second call with all its processes by force."""
        if not self._timed_out:
            self._timed_out = True
            self._recording.event(
                "timed-out", f"{self._ended_by()}: SIGTERM was sent to the command"
            )
            command.send(signal.SIGTERM)
            return
        self._recording.event("timed-out", "SIGKILL was sent to the command and its processes")
        self._attempt(self._watch.look)
        _kill({command.pid, *(process.pid for process in self._watch.alive)})

    def _tell_stragglers(self) -> None:
        """Processes that outlive the command are not ours to end, unless its time ran out."""
        left = self._watch.stragglers()
        runs_on = "was killed" if self._timed_out else "runs on"
        for process in left:
            command = shown_command(process.arguments, self._watched.settings.record_arguments)
            told = f"{process.pid} ({command})"
            self._recording.event("outlived", f"process {told} outlived the command, and {runs_on}")
        if self._timed_out:
            _kill(process.pid for process in left)

    def _write_so_far(self) -> None:
        """Leave a report for the case that a later one cannot be written."""
        try:
            self._interim(self._report(None))
        except ReportError as error:
            self._recording.event("report", f"it could not be written meanwhile: {error}")


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
