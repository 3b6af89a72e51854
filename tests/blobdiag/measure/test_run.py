"""`blobdiag run -- CMD` around real commands: what goes in and out, how it ends, what is left.

None of them needs torch; what the instrumentation sees inside is tested with the programs.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import in_process

from blobdiag.model.report import Report
from blobdiag.model.report_files import read_report

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")

SECONDS = 60
"""More than any of these commands takes."""

# Tells of each signal it gets, for some seconds; the last lines are its own end.
TELLER = """
import signal, sys, time
def tell(number, frame):
    global end
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGUSR1:
        end = time.monotonic() + 0.6
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, tell)
end = time.monotonic() + float((sys.argv[1:] or ["30"])[0])
print("ready", flush=True)
while time.monotonic() < end:
    time.sleep(0.02)
sys.exit(9)
"""


# What started the tests may have SIGHUP ignored, as nohup does: then it would not be passed on.
LAUNCHER = """
import signal
from blobdiag.cli import main
from blobdiag.measure import run
run.PATIENCE_SECONDS = {}
signal.signal(signal.SIGHUP, signal.SIG_DFL)
main()
"""


class Run:
    """`blobdiag run` in a process group of its own, its report in a folder of the test's."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        stdin: bytes = b"",
        patience: float = 10,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.report_path = folder / "run.json"
        options = ("--quiet", "--output", str(self.report_path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER.format(patience), "run", *options, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._stdin = stdin

    def line(self) -> bytes:
        """The next line the command prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ended(self) -> tuple[int, bytes, str]:
        """Exit code, the rest of stdout, stderr."""
        output, errors = self.process.communicate(self._stdin, SECONDS)
        return self.process.returncode, output, errors.decode()

    @property
    def report(self) -> Report:
        return read_report(self.report_path)

    def leftovers(self) -> list[psutil.Process]:
        """Processes of the run's session that still are there."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != "zombie":
                    found.append(process)
            except (OSError, psutil.Error):
                continue
        return found

    def leaves_nothing(self) -> None:
        """Python's own helper process needs a moment to see that its parent is gone."""
        deadline = time.monotonic() + 3
        while left := self.leftovers():
            assert time.monotonic() < deadline, left
            time.sleep(0.02)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def start(*arguments: str, **more: Any) -> Run:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Run(folder, *arguments, **more))
        return started[-1]

    yield start
    for one in started:
        for process in one.leftovers():
            process.kill()
        one.process.wait()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def processes(report: Report) -> dict[str, int]:
    """How many processes were seen of each command line."""
    assert report.program is not None
    commands = [process.command for process in report.program.processes]
    return {command: commands.count(command) for command in commands}


@pytest.mark.parametrize(
    ("command", "code", "ended"),
    [
        (("true",), 0, (0, None)),
        (("sh", "-c", "exit 7"), 7, (7, None)),
        (("sh", "-c", "kill -KILL $$"), 137, (None, 9)),
        (("sh", "-c", "kill -TERM $$"), 143, (None, 15)),
    ],
)
def test_exit_code_is_the_command_s_own(
    run: Callable[..., Run],
    command: tuple[str, ...],
    code: int,
    ended: tuple[int | None, int | None],
) -> None:
    one = run("--", *command)
    returned, output, errors = one.ended()
    assert (returned, output) == (code, b"")
    assert errors.splitlines() == [str(one.report_path)]
    program = one.report.program
    assert program is not None
    assert (program.exit_code, program.signal) == ended
    assert (one.report.exit_code, one.report.interrupted) == (code, False)
    one.leaves_nothing()


def test_a_command_that_cannot_be_run_leaves_no_report(run: Callable[..., Run]) -> None:
    missing, forbidden = run("no-such-command"), run("/etc/passwd")
    assert missing.ended()[0] == 127
    code, _, errors = forbidden.ended()
    assert (code, errors) == (126, "blobdiag: cannot run /etc/passwd: Permission denied\n")
    assert not missing.report_path.exists()
    assert not forbidden.report_path.exists()


def test_open_files_are_passed_on_and_a_script_without_a_shebang_is_the_shell_s(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text('read line </dev/fd/$1; echo "$line"\n')
    script.chmod(0o755)
    ours, theirs = os.pipe()
    os.write(theirs, b"through a pipe\n")
    one = run("--", str(script), str(ours), pass_fds=[ours])
    assert one.ended()[:2] == (0, b"through a pipe\n")
    os.close(ours)
    os.close(theirs)


def test_two_of_one_second_leave_a_report_each(tmp_path: Path) -> None:
    """With the names that they choose themselves."""
    command = [sys.executable, "-m", "blobdiag", "run", "--quiet", "--", "sleep", "0.2"]
    while time.time() % 1 > 0.2:  # both begin in one second, if they can
        time.sleep(0.01)
    started = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(4)]
    paths = [process.communicate()[1].decode().strip() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert len(set(paths)) == 4
    assert all(read_report(tmp_path / path).command == "run" for path in paths)


def test_the_command_s_exit_code_is_told_though_nobody_reads(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "blobdiag", "run", "--", "sh", "-c", "exit 7"]
    assert subprocess.run(command, cwd=tmp_path, stderr=theirs, check=False).returncode == 7
    os.close(theirs)
    closed = ["sh", "-c", '"$@" 2>&-', "sh", *command]
    done = subprocess.run(closed, cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (7, b"")


def test_the_command_goes_on_where_watching_fails(run: Callable[..., Run]) -> None:
    """It removes the folder that its processes tell of themselves in."""
    script = """
import os, shutil, sys, time
shutil.rmtree(os.environ["BLOBDIAG_RECORDS"])
time.sleep(2.5)
sys.exit(9)
"""
    one = run("--", sys.executable, "-c", script)
    code, _, errors = one.ended()
    assert (code, errors) == (9, f"{one.report_path}\n")
    [told] = [event.text for event in one.report.events if event.kind == "failed"]
    assert "FileNotFoundError" in told


def test_judging_lets_the_command_s_own_failure_win(run: Callable[..., Run]) -> None:
    # Of a program without torch nothing says whether it is on the device.
    judging = ("--judge", "--expect-device", "cuda", "--")
    fine, failing = run(*judging, "true"), run(*judging, "sh", "-c", "exit 7")
    assert fine.ended()[0] == fine.report.exit_code == 3
    assert failing.ended()[0] == failing.report.exit_code == 7


def test_arguments_after_the_command_are_its_own(run: Callable[..., Run]) -> None:
    words = ["--help", "--", "--quiet", "-x", "", "two words", "ünï", "--device", "cuda:1"]
    script = "import sys; print(repr(sys.argv[1:]))"
    with_dashes = run("--", sys.executable, "-c", script, *words)
    without = run(sys.executable, "-c", script, *words)
    for one in (with_dashes, without):
        assert one.ended()[1].decode().rstrip("\n") == repr(words)
        assert one.report.device == "cuda"
    assert one.report.program is not None
    assert one.report.program.expected_by == "--device cuda:1"


def test_streams_pass_through_to_the_byte(run: Callable[..., Run]) -> None:
    content = bytes(range(256)) * 4096
    one = run("--", "sh", "-c", "echo said >&2; exec cat", stdin=content)
    code, output, errors = one.ended()
    assert code == 0
    assert output == content
    assert errors.splitlines() == ["said", str(one.report_path)]


@pytest.mark.parametrize("whole_group", [False, True])
def test_each_signal_reaches_the_command_once(run: Callable[..., Run], whole_group: bool) -> None:
    one = run("--", sys.executable, "-c", TELLER)
    assert one.line() == b"ready\n"
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    for number in signals:
        (os.killpg if whole_group else os.kill)(one.process.pid, number)
        assert one.line() == f"{number.name}\n".encode()
    code, rest, _ = one.ended()
    assert (code, rest) == (9, b""), "each came once"
    assert one.report.interrupted
    (interrupted,) = [e.text for e in one.report.events if e.kind == "interrupted"]
    assert interrupted in ("SIGINT", "SIGTERM", "SIGHUP")
    passed_on = [e for e in one.report.events if "was forwarded" in e.text]
    assert len(passed_on) == (0 if whole_group else len(signals))
    one.leaves_nothing()


def test_another_signal_soon_after_one_of_the_group_is_passed_on(run: Callable[..., Run]) -> None:
    one = run("--", sys.executable, "-c", TELLER)
    assert one.line() == b"ready\n"
    os.killpg(one.process.pid, signal.SIGINT)
    assert one.line() == b"SIGINT\n"
    one.process.send_signal(signal.SIGTERM)
    assert one.line() == b"SIGTERM\n"
    one.process.send_signal(signal.SIGUSR1)
    assert one.line() == b"SIGUSR1\n"
    assert one.ended()[:2] == (9, b"")


def test_an_interrupt_that_ends_the_command_is_told_as_128_and_its_number(
    run: Callable[..., Run],
) -> None:
    one = run("--", "sh", "-c", "echo ready; exec sleep 60")
    assert one.line() == b"ready\n"
    os.killpg(one.process.pid, signal.SIGINT)
    assert one.ended()[0] == 130
    assert one.report.program is not None
    assert one.report.program.signal == signal.SIGINT
    one.leaves_nothing()


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "blobdiag", "run", "--quiet", "--"]
    script = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    output = subprocess.run(
        ["nohup", *command, sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=SECONDS,
        check=True,
    )
    assert output.stdout == b"True\n"


def test_processes_that_come_and_go_are_all_seen(run: Callable[..., Run]) -> None:
    # One after the other, each for longer than the tree is looked at rarely.
    script = "for i in 1 2 3; do sleep 0.8; done; (setsid sleep 0.9 &) ; sleep 0.6; exit 0"
    one = run("--", "sh", "-c", script)
    assert one.ended()[0] == 0
    seen = processes(one.report)
    assert seen["sleep 0.8"] == 3
    assert seen["sleep 0.9"] == 1, "forked twice, in a session of its own"
    assert not any("blobdiag" in command for command in seen), "the sampler is not the program's"
    assert one.report.program is not None
    assert all(process.ended_s is not None for process in one.report.program.processes)


def test_a_process_that_outlives_the_command_is_left_running_and_named(
    run: Callable[..., Run],
) -> None:
    one = run("--", "sh", "-c", "setsid sleep 50 > /dev/null 2>&1 & sleep 0.5")
    assert one.ended()[0] == 0
    assert one.report.program is not None
    (left,) = [p for p in one.report.program.processes if p.ended_s is None]
    assert left.command == "sleep 50"
    (event,) = [e for e in one.report.events if e.kind == "outlived"]
    assert f"process {left.pid} (sleep 50) outlived the command" in event.text
    process = psutil.Process(left.pid)
    assert process.is_running()
    process.kill()


def test_time_that_runs_out_ends_the_command_politely(run: Callable[..., Run]) -> None:
    script = "trap 'echo bye; exit 3' TERM; setsid sleep 60 & wait"
    one = run("--timeout", "2", "--", "sh", "-c", script)
    code, output, _ = one.ended()
    assert (code, output) == (124, b"bye\n")
    assert one.report.interrupted
    assert one.report.program is not None
    assert one.report.program.exit_code == 3
    (sleeper,) = [p for p in one.report.program.processes if p.command == "sleep 60"]
    until(lambda: not psutil.pid_exists(sleeper.pid))


@pytest.mark.slow
def test_time_that_runs_out_ends_what_does_not_listen_by_force(run: Callable[..., Run]) -> None:
    script = "trap '' TERM; sleep 60 & wait; wait"
    one = run("--timeout", "2", "--", "sh", "-c", script, patience=0.3)
    assert one.ended()[0] == 124
    assert one.report.program is not None
    assert one.report.program.signal == signal.SIGKILL
    one.leaves_nothing()


def test_a_report_is_left_when_blobdiag_is_killed(run: Callable[..., Run]) -> None:
    one = run("--", sys.executable, "-c", TELLER)
    assert one.line() == b"ready\n"
    until(one.report_path.exists)
    one.process.kill()
    one.process.wait()
    report = one.report
    assert report.interrupted
    assert "still running when this report was written" in report.verdict_text
    assert report.program is not None
    assert (report.program.exit_code, report.program.signal) == (None, None)
    # The command goes on; the sampler does not.
    until(lambda: len(one.leftovers()) == 1)
    (command,) = one.leftovers()
    assert command.pid in {process.pid for process in report.program.processes}
    command.send_signal(signal.SIGUSR1)
    assert one.line() == b"SIGUSR1\n"


def test_elsewhere_it_is_refused_before_anything_of_linux_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blobdiag.cli.run.sys.platform", "win32")
    for module in ("blobdiag.measure.run", "blobdiag.targets.program.signals"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    done = in_process(tmp_path, "run", "--", "true")
    assert done.returncode == 2
    assert (
        done.stderr == "blobdiag: run watches programs on Linux only: elsewhere there is no /proc\n"
    )


def test_output_is_refused_before_the_command_starts(run: Callable[..., Run]) -> None:
    taken = run("--output", "/dev/null", "--", "echo", "started")
    nowhere = run("--output", "/proc/nowhere/run.json", "--", "echo", "started")
    for one in (taken, nowhere):
        code, output, errors = one.ended()
        assert (code, output) == (2, b"")
        assert len(errors.splitlines()) == 1
        assert errors.startswith("blobdiag: ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--expect-device", "gpu"), "--expect-device must be one of cuda, cpu, mps, xpu"),
        (("--timeout", "0"), "--timeout must be above 0"),
        (("--count-every", "0"), "--count-every must be at least 1"),
        (("--expect", "nothing=1.."), "there is no expectation 'nothing'"),
    ],
)
def test_bad_options_are_one_line(
    run: Callable[..., Run], options: tuple[str, ...], words: str
) -> None:
    code, output, errors = run(*options, "--", "echo", "started").ended()
    assert (code, output) == (2, b"")
    assert words in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.slow
def test_a_terminal_treats_blobdiag_and_the_command_as_one_job(tmp_path: Path) -> None:
    (tmp_path / "teller.py").write_text(TELLER)
    with Terminal(tmp_path) as terminal:
        run = f"{sys.executable} -m blobdiag run --quiet --output run.json --"
        terminal.type(f"{run} {sys.executable} teller.py 4\n", until="ready")
        terminal.type("\x03", until="SIGINT")
        terminal.type("\x1a", until="Stopped")
        terminal.type("fg; echo rc=$?\n", until="rc=9")
        assert terminal.all.count("SIGINT") == 1, "Ctrl-C reached the command once"
        # Reading in the background stops the job, as it stops a command without us.
        terminal.type(f"{run.replace('run.json', 'cat.json')} cat &\n", until="[1]")
        terminal.type("while ! jobs | grep Stopped; do sleep 0.1; done\n", until="Stopped")
        terminal.type("fg\n", until="cat.json -- cat")
        terminal.type("said\n", until="said")
        terminal.type("\x04", until="cat.json\r\n")
        terminal.type("echo rc=$?\n", until="rc=0")
    assert read_report(tmp_path / "run.json").interrupted
    assert not read_report(tmp_path / "cat.json").interrupted


class Terminal:
    """An interactive shell on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self.seen, self.all = "", ""
        self._pid, self._screen = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvp("bash", ["bash", "--norc", "--noediting", "-i"])

    def type(self, keys: str, until: str) -> None:
        """Type, and wait for what comes after it."""
        self.seen = ""
        os.write(self._screen, keys.encode())
        deadline = time.monotonic() + SECONDS
        while until not in self.seen.replace(keys.rstrip("\n"), "", 1):
            assert time.monotonic() < deadline, self.seen
            if select.select([self._screen], [], [], 0.1)[0]:
                shown = os.read(self._screen, 4096).decode(errors="replace")
                self.seen += shown
                self.all += shown

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._screen)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
