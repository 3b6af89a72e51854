"""Temporary folders: those of a killed owner are removed, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blobdiag.targets.temporary_folder import LOCK, TemporaryFolder, remove_abandoned

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks as POSIX has them")

OWNER = """
import subprocess, sys
from blobdiag.targets.temporary_folder import TemporaryFolder

folder = TemporaryFolder()
(folder.path / "deep").mkdir()
(folder.path / "deep" / "record.json").write_text("{}")
# A child of the owner's, as the program that is watched is: it outlives the owner.
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
print(folder.path, flush=True)
input()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def start_owner(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().rstrip())


def test_the_next_run_removes_what_a_killed_one_left(temporary: Path) -> None:
    process, left = start_owner(temporary)
    with TemporaryFolder() as own:
        assert left.exists(), "its owner lives"
        process.kill()
        process.wait()
        assert left.exists()
        with TemporaryFolder() as another:
            assert sorted(temporary.iterdir()) == sorted([own, another])
    assert list(temporary.iterdir()) == []
    process.communicate()


def test_what_is_not_an_abandoned_folder_stays(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (temporary / "blobdiag-link").symlink_to(elsewhere)
    without_lock = temporary / "blobdiag-1000"
    without_lock.mkdir()
    (temporary / "blobdiag-file").touch()
    linked_lock = temporary / "blobdiag-linked"
    linked_lock.mkdir()
    (linked_lock / LOCK).symlink_to(elsewhere / LOCK)
    before = sorted(temporary.iterdir())
    assert remove_abandoned(temporary) == []
    assert sorted(temporary.iterdir()) == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root to give away")
def test_what_is_another_users_stays(temporary: Path) -> None:
    theirs = temporary / "blobdiag-theirs"
    theirs.mkdir()
    (theirs / LOCK).touch()
    os.chown(theirs, 12345, 12345)
    assert remove_abandoned(temporary) == []
    os.chown(theirs, os.geteuid(), os.getegid())
    assert remove_abandoned(temporary) == [theirs]


def test_a_folder_is_removed_in_time_and_its_lock_with_it(temporary: Path) -> None:
    folder = TemporaryFolder()
    assert (folder.path / LOCK).exists()
    folder.close()
    folder.close()
    assert list(temporary.iterdir()) == []
