"""Streams that are closed, full or without a reader: they end what is shown, never the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import odd_streams
import pytest
from odd_streams import FULL_STDOUT, GOOD_STDERR, GOOD_STDOUT, ODD, Ended

from blobdiag.model.report_files import read_report

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "reports" / "reference"
[FIRST, SECOND, *_] = sorted(map(str, REFERENCE.glob("*compare*.json")))
LOST = "blobdiag: cannot write to stdout: No space left on device\n"
FEW = ("no streams", "full stdout", "neither has a reader")
"""For what takes long; tests/proof/attacks/streams.py has them all."""
BLOBDIAG = (sys.executable, "-m", "blobdiag")
SMALL = (
    *("--device", "cpu", "--network", "32-2-4-64", "--determinizations", "2", "--lanes", "6"),
    *("--dtype", "float32", "--workers", "1", "--simulations", "6"),
)

READERS: dict[str, tuple[str, ...]] = {
    "version": ("--version",),
    "help": ("--help",),
    "show": ("report", "show", FIRST),
    "show json": ("report", "show", FIRST, "--format", "json"),
    "validate": ("report", "validate", FIRST),
    "judge": ("report", "judge", FIRST),
    "diff": ("report", "diff", FIRST, SECOND),
    "list": ("report", "list", str(REFERENCE)),
    "plan json": ("plan", FIRST, "--format", "json"),
    "bad input": ("report", "show", "no-such-file.json"),
    "bad usage": ("report", "show", "--no-such-option"),
}


def assert_no_traceback(ended: Ended) -> None:
    for text in ("Traceback", "Exception ignored", "BrokenPipe"):
        assert text not in ended.errors
        assert text not in ended.output


def test_what_only_prints(tmp_path: Path) -> None:
    """All commands that read, under all streams: exit code, and what the good streams hold."""
    cases = [(odd, name) for name in READERS for odd in (None, *ODD)]
    ended = odd_streams.run_forked([(odd, READERS[name]) for odd, name in cases], tmp_path)
    undisturbed = {name: one for (odd, name), one in zip(cases, ended, strict=True) if odd is None}
    assert undisturbed["bad input"].code == undisturbed["bad usage"].code == 2
    for (odd, name), one in zip(cases, ended, strict=True):
        usual = undisturbed[name]
        lost = odd in FULL_STDOUT and bool(usual.output)
        assert one.code == (2 if lost else usual.code), (odd, name, one)
        assert_no_traceback(one)
        if odd in GOOD_STDOUT:
            assert one.output == usual.output, (odd, name)
        if odd in GOOD_STDERR:
            assert one.errors == usual.errors + (LOST if lost else ""), (odd, name)


@pytest.mark.slow
@pytest.mark.parametrize("odd", FEW)
def test_a_measurement_goes_on_and_is_written(tmp_path: Path, odd: str) -> None:
    command = (*BLOBDIAG, "compare", *SMALL, "--games", "5", "--min-seconds", "1")
    ended = odd_streams.run(command, odd, tmp_path)
    assert_no_traceback(ended)
    [path] = (tmp_path / "reports").glob("*.json")
    report = read_report(path)
    assert not report.interrupted
    assert report.throughput[0].games >= 5
    assert ended.code == report.exit_code == 0
    if odd in GOOD_STDERR and odd not in GOOD_STDOUT and odd != "no stdout":
        assert f"blobdiag: stdout is closed or full; see reports/{path.name}\n" in ended.errors


@pytest.mark.slow
def test_a_training_goes_on_when_its_pipe_ends(tmp_path: Path) -> None:
    """`2>&1 | head -n 6`, as it was found."""
    command = " ".join(
        (*BLOBDIAG, "iteration", *SMALL, "--games", "24", "--iterations", "3", "--run-dir", "rd")
    )
    shell = subprocess.run(
        ["bash", "-c", f"{command} 2>&1 | head -n 3; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    [path] = (tmp_path / "rd" / "reports").glob("*.json")
    report = read_report(path)
    assert shell.returncode == report.exit_code
    assert not report.interrupted
    assert len(shell.stdout.splitlines()) == 3
    assert len((tmp_path / "rd" / "metrics.jsonl").read_text().splitlines()) == 3
    assert shell.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("odd", FULL_STDOUT)
def test_what_a_sweep_found_is_stored_and_a_lost_table_is_said(tmp_path: Path, odd: str) -> None:
    command = (*BLOBDIAG, "tune", *SMALL[:-2], "--seconds", "3")
    cache = tmp_path / "cache"
    stored = ("env", f"XDG_CACHE_HOME={cache}", f"XDG_CONFIG_HOME={cache}", *command)
    ended = odd_streams.run(stored, odd, tmp_path)
    assert_no_traceback(ended)
    assert ended.code == 2
    assert ended.errors == (LOST if odd == "full stdout" else "")
    assert list(cache.rglob("*.json"))


TELLS_ITS_STREAMS = """
import os
for number in (0, 1, 2):
    try:
        os.fstat(number)
    except OSError:
        os.write(3, b"closed ")
    else:
        os.write(3, b"open ")
"""


@pytest.mark.slow
@pytest.mark.parametrize("odd", FEW)
def test_a_watched_program_has_the_streams_it_would_have(tmp_path: Path, odd: str) -> None:
    """And its exit code, here that of a shell whose `echo` may fail."""
    script = (
        f"exec 3> seen; {sys.executable} -c '{TELLS_ITS_STREAMS}' 3>&3; echo hello; echo on >&2"
    )
    program = ("bash", "-c", script)
    without = odd_streams.run(program, odd, tmp_path)
    seen = (tmp_path / "seen").read_text()
    watched = odd_streams.run((*BLOBDIAG, "run", "--", *program), odd, tmp_path)
    assert (tmp_path / "seen").read_text() == seen
    assert watched.code == without.code
    assert watched.output == without.output
    assert_no_traceback(watched)
    [path] = (tmp_path / "reports").glob("*.json")
    assert read_report(path).exit_code == watched.code
