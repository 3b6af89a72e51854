"""Standard streams that are closed, full or have lost their reader, and commands run with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, NoReturn


def _full(number: int) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), number)


def _without_reader(*numbers: int) -> None:
    read, write = os.pipe()
    os.close(read)
    for number in numbers:
        os.dup2(write, number)
    os.close(write)


ODD: dict[str, Callable[[], object]] = {
    "no stdin": lambda: os.close(0),
    "no stdout": lambda: os.close(1),
    "no stderr": lambda: os.close(2),
    "no streams": lambda: [os.close(number) for number in (0, 1, 2)],
    "full stdout": lambda: _full(1),
    "full stderr": lambda: _full(2),
    "all full": lambda: [_full(1), _full(2)],
    "stdout without reader": lambda: _without_reader(1),
    "stderr without reader": lambda: _without_reader(2),
    "neither has a reader": lambda: _without_reader(1, 2),
}
"""What makes them so, in the process concerned."""
FULL_STDOUT = ("full stdout", "all full")
IMPORTED = (
    *("cli.report_diff", "cli.report_judge", "cli.report_list", "cli.report_show"),
    *("cli.report_validate", "diagnosis.comparison", "diagnosis.judge", "diagnosis.machine_plans"),
    *("diagnosis.rejudged", "render.diff", "render.formats", "render.index", "render.terminal"),
    "store.spread",
)
"""What the commands need, once and not in every fork."""
GOOD_STDOUT = ("no stdin", "no stderr", "full stderr", "stderr without reader")
GOOD_STDERR = ("no stdin", "no stdout", "full stdout", "stdout without reader")


class Ended(NamedTuple):
    """How a command came out."""

    code: int
    """As a shell says it: 128 + the number of the signal that killed it."""
    output: str
    errors: str


def run(command: Sequence[str], odd: str | None, folder: Path, seconds: float = 240) -> Ended:
    """Any command in a process of its own, with streams as `odd` says."""
    with TemporaryDirectory(dir=folder) as texts:
        output, errors = Path(texts, "out"), Path(texts, "err")
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=ODD[odd] if odd else None,
            )
            try:
                code = process.wait(seconds)
            except BaseException:
                process.kill()
                process.wait()
                raise
        return Ended(code if code >= 0 else 128 - code, output.read_text(), errors.read_text())


def run_forked(cases: Sequence[tuple[str | None, Sequence[str]]], folder: Path) -> list[Ended]:
    """`blobdiag ARGUMENTS` with streams as each case says: forks of one process, which is cheap."""
    with TemporaryDirectory() as texts:
        answer = subprocess.run(
            [sys.executable, __file__, texts],
            input=json.dumps(cases),
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
        )
    return [Ended(*ended) for ended in json.loads(answer.stdout)]


def _fork(odd: str | None, arguments: Sequence[str], texts: Path) -> Ended | None:
    """The command in a fork; None in the fork itself, which is to become the command."""
    output, errors = texts / "out", texts / "err"
    pid = os.fork()
    if pid:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Ended(code, output.read_text(), errors.read_text())
    for number, path in ((0, Path(os.devnull)), (1, output), (2, errors)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    if odd:
        ODD[odd]()
    # As the interpreter makes them at its start.
    for number, name in ((1, "stdout"), (2, "stderr")):
        try:
            stream = os.fdopen(number, "w", encoding="utf-8", closefd=False, buffering=1)
        except OSError:
            stream = None
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["blobdiag", *arguments]
    return None


def _end_as_python_does(main: Callable[[], None]) -> NoReturn:
    """Its exit code, and 120 where a stream cannot be flushed; without taking modules apart."""
    code: object = 0
    try:
        main()
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        code = 1
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            code = 120
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    for module in IMPORTED:
        import_module(f"blobdiag.{module}")
    from blobdiag.cli import main

    given, ended = json.load(sys.stdin), []
    for odd, arguments in given:
        one = _fork(odd, arguments, Path(sys.argv[1]))
        if one is None:
            _end_as_python_does(main)
        ended.append(one)
    print(json.dumps(ended))
