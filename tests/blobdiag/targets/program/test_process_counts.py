"""The accounts of real processes: read while they run, kept in bounded space after their end."""

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
from blobdiag.targets.program.process_counts import Accounts
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


def test_what_a_process_said_is_kept_when_its_record_is_gone(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    with play(tmp_path, 3) as process:
        accounts.read()
        (inside,) = accounts.insides
        assert (inside.pid, inside.parent_pid, accounts.ended) == (process.pid, os.getpid(), {})
        assert inside.arguments[:2] == [sys.executable, "-c"]
    accounts.read()
    assert [path.name for path in tmp_path.iterdir()] == ["ended"], "its file was removed"
    assert accounts.insides == [inside]
    assert list(accounts.ended) == [inside.identity]
    assert [(mark.name, mark.pid) for mark in accounts.marks] == [("self-play", process.pid)]


def test_counting_says_what_it_takes(tmp_path: Path) -> None:
    """2 ms for calls of 50 ms; where one in 16 is counted, those of 16 calls."""
    accounts = Accounts(tmp_path)
    unknown = accounts.cost(1)
    assert (unknown.value, unknown.reason) == (None, "no call was timed")
    accounts.insides = [account(1, [calls(host_seconds=0.05)])._replace(own_seconds=0.002)]
    every = accounts.cost(1)
    assert every.value == pytest.approx(4)
    assert "--count-every 16 takes less" in (every.reason or "")
    seldom = accounts.cost(16)
    assert seldom.value == pytest.approx(0.25)
    assert "--count-every" not in (seldom.reason or "")


def test_what_was_not_read_to_its_end_is_not_counted_to_its_end(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    own = account(1, [calls()])._replace(torch="2.13.0")
    accounts.insides = [own, own._replace(pid=2, reason="x")]
    whole, _ = process_records([], accounts.insides[:1], {}, None, 0.0)
    assert program_checks(watched(whole, expect="cpu"))[0].status is Status.PASS
    accounts.lose_sight()
    assert [one.reason for one in accounts.insides] == ["watching failed before its end", "x"]
    records, _ = process_records([], accounts.insides[:1], {}, None, 0.0)
    assert program_checks(watched(records, expect="cpu"))[0].status is Status.INCONCLUSIVE


def test_whether_a_process_of_another_namespace_has_ended_is_not_judged(tmp_path: Path) -> None:
    """Its PID is another process's here."""
    accounts = Accounts(tmp_path)
    given = environment(os.environ, tmp_path) | {"BLOBDIAG_PID_NAMESPACE": "pid:[1]"}
    subprocess.run(
        [sys.executable, "-c", PLAY, "3"], env=given, stdin=subprocess.DEVNULL, check=True
    )
    for _ in range(2):
        accounts.read()
        (inside,) = accounts.insides
        assert (inside.progress, accounts.ended) == ({"games": 3.0}, {})


def test_of_too_many_the_counters_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ENDED", 2)
    accounts = Accounts(tmp_path)
    for games in (1, 2, 3, 4):
        with play(tmp_path, games):
            pass
        accounts.read()
    assert len(accounts.insides) == len(accounts.ended) == 2
    assert accounts.progress() == {"games": 10.0}
