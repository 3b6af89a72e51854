"""Counts of real processes: read while they run, kept in bounded space after their exit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from watched import account, calls, watched

from blobdiag.diagnosis.commands.run import program_checks
from blobdiag.model.base import Status
from blobdiag.targets.program import process_counts as module
from blobdiag.targets.program.environment import environment
from blobdiag.targets.program.process_counts import CountsFolder
from blobdiag.targets.program.process_records import process_records

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")

PLAY = """
import sys
from blobdiag_marks import phase, progress
with phase("self-play"):
    progress(games=int(sys.argv[1]))
print("played", flush=True)
sys.stdin.read()
"""


def play(folder: Path, games: int) -> subprocess.Popen[bytes]:
    """A process that has counted so many games, and lives until its stdin is closed."""
    command = [sys.executable, "-c", PLAY, str(games)]
    given = environment(os.environ, folder)
    process = subprocess.Popen(
        command, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"played\n"
    return process


def test_counts_are_kept_when_the_record_is_removed(tmp_path: Path) -> None:
    folder = CountsFolder(tmp_path)
    with play(tmp_path, 3) as process:
        folder.read()
        (counts,) = folder.processes
        assert (counts.pid, counts.parent_pid, folder.ended) == (process.pid, os.getpid(), {})
        assert counts.arguments[:2] == [sys.executable, "-c"]
    folder.read()
    assert [path.name for path in tmp_path.iterdir()] == ["exited"], "its file was removed"
    assert folder.processes == [counts]
    assert list(folder.ended) == [counts.identity]
    assert [(mark.name, mark.pid) for mark in folder.marks] == [("self-play", process.pid)]


def test_the_cost_of_counting(tmp_path: Path) -> None:
    """2 ms for calls of 50 ms; where one in 16 is counted, those of 16 calls."""
    folder = CountsFolder(tmp_path)
    unknown = folder.cost(1)
    assert (unknown.value, unknown.reason) == (None, "no call was timed")
    folder.processes = [account(1, [calls(host_seconds=0.05)])._replace(own_seconds=0.002)]
    every = folder.cost(1)
    assert every.value == pytest.approx(4)
    assert "--count-every 16 takes less" in (every.reason or "")
    seldom = folder.cost(16)
    assert seldom.value == pytest.approx(0.25)
    assert "--count-every" not in (seldom.reason or "")


def test_counts_that_may_lack_their_end_are_incomplete(tmp_path: Path) -> None:
    folder = CountsFolder(tmp_path)
    own = account(1, [calls()])._replace(torch="2.13.0")
    folder.processes = [own, own._replace(pid=2, reason="x")]
    whole, _ = process_records([], folder.processes[:1], {}, None, 0.0)
    assert program_checks(watched(whole, expect="cpu"))[0].status is Status.PASS
    folder.mark_incomplete()
    assert [one.reason for one in folder.processes] == ["watching failed before its end", "x"]
    records, _ = process_records([], folder.processes[:1], {}, None, 0.0)
    assert program_checks(watched(records, expect="cpu"))[0].status is Status.INCONCLUSIVE


def test_whether_a_process_of_another_namespace_has_ended_is_not_judged(tmp_path: Path) -> None:
    """Its PID is another process's here."""
    folder = CountsFolder(tmp_path)
    given = environment(os.environ, tmp_path) | {"BLOBDIAG_PID_NAMESPACE": "pid:[1]"}
    subprocess.run(
        [sys.executable, "-c", PLAY, "3"], env=given, stdin=subprocess.DEVNULL, check=True
    )
    for _ in range(2):
        folder.read()
        (counts,) = folder.processes
        assert (counts.progress, folder.ended) == ({"games": 3.0}, {})


def test_of_too_many_the_counters_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EXITED", 2)
    folder = CountsFolder(tmp_path)
    for games in (1, 2, 3, 4):
        with play(tmp_path, games):
            pass
        folder.read()
    assert len(folder.processes) == len(folder.ended) == 2
    assert folder.progress() == {"games": 10.0}
