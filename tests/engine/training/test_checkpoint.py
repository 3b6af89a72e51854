"""Files of a run: whole at every moment, nothing of them is run, each problem one line."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.training.checkpoint import CheckpointError, read_about, read_arrays, write_arrays
from engine.training.run_folder import RunFolder

ROOT = Path(__file__).parents[3]


def arrays(value: int) -> dict[str, np.ndarray]:
    return {"a": np.full((300, 40), value, np.float32), "b": np.array(value)}


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = {
        **arrays(3),
        "transposed": np.arange(6).reshape(2, 3).T,
        "flags": np.array([True, False]),
        "none": np.zeros((0, 4), np.int64),
    }
    write_arrays(tmp_path / "x", written, {"step": 2**100, "text": "ä"})
    read, about = read_arrays(tmp_path / "x")
    assert about == read_about(tmp_path / "x") == {"step": 2**100, "text": "ä"}
    assert read.keys() == written.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(read[name], array)
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)


KILLED_AT = {
    # where the process dies: what is replaced by its death, whether the new file is there after
    "in the middle of the write": ("half", False),
    "before the file is synced": ("os.fsync 1", False),
    "before the rename": ("os.replace 1", False),
    "before the folder is synced": ("os.fsync 2", True),
}
WRITER = """
    import os, pathlib, signal, sys
    import numpy as np
    from engine.training import checkpoint
    from engine.training.run_folder import RunFolder

    moment, number = (sys.argv[2] + " 1").split()[:2]
    left = int(number)

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def counted(real):
        def call(*arguments):
            global left
            left -= 1
            return die() if left == 0 else real(*arguments)
        return call

    with RunFolder(pathlib.Path(sys.argv[1])) as folder:
        content = {"a": np.full((300, 40), 2, np.float32), "b": np.array(2)}
        if moment == "half":
            real_open = pathlib.Path.open

            def half_open(self, *arguments):
                file = real_open(self, *arguments)
                os.write(file.fileno(), checkpoint.save(content)[:20_000])
                die()

            pathlib.Path.open = half_open
        else:
            name = moment.removeprefix("os.")
            setattr(os, name, counted(getattr(os, name)))
        folder.save_checkpoint(1, 0, content, {"added": 2})
"""


@pytest.mark.parametrize("moment", KILLED_AT)
def test_a_process_killed_while_it_writes_leaves_the_old_or_the_new(
    tmp_path: Path, moment: str
) -> None:
    where, replaced = KILLED_AT[moment]
    with RunFolder(tmp_path) as folder:
        folder.save_checkpoint(1, 0, arrays(1), {"added": 1})
    killed = run(WRITER, str(tmp_path), where)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = list(tmp_path.rglob("*.tmp"))
    assert bool(left) is not replaced
    with RunFolder(tmp_path) as folder:
        assert not list(tmp_path.rglob("*.tmp"))
        path = folder.newest_checkpoint
        assert path is not None
        read, about = read_arrays(path)
        assert about == {"added": 2 if replaced else 1}
        np.testing.assert_array_equal(read["a"], arrays(about["added"])["a"])
        folder.save_checkpoint(1, 0, arrays(3), {"added": 3})
        assert read_about(path) == {"added": 3}


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_what_is_no_file_of_a_run_is_one_line_and_nothing_of_it_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    whole = tmp_path / "whole"
    write_arrays(whole, arrays(1), {})
    bad = {
        "pickle": pickle.dumps(Bomb(mark)),
        "truncated": whole.read_bytes()[:-100],
        "cut in its head": whole.read_bytes()[:20],
        "empty": b"",
        "text": b"weights\n" * 100,
        "long head": (2**62).to_bytes(8, "little") + b"{}",
    }
    torch.save(Bomb(mark), tmp_path / "torch")
    bad["torch"] = (tmp_path / "torch").read_bytes()
    from safetensors.numpy import save

    bad["of another program"] = save(arrays(1))
    bad["with other words"] = save(arrays(1), {"about": "[1]"})
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        for read in (read_about, read_arrays):
            with pytest.raises(CheckpointError) as caught:
                read(path)
            assert len(str(caught.value).splitlines()) == 1, name
            assert str(caught.value).startswith(str(path)), name
        assert path.read_bytes() == content
    with pytest.raises(CheckpointError, match="No such file"):
        read_about(tmp_path / "absent")
    assert not mark.exists()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 256 KiB."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder]
        try:
            mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("mount is not there")
        if mounted.returncode:
            pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line_and_the_last_file_stays_whole(small_disk: Path) -> None:
    with RunFolder(small_disk) as folder:
        folder.save_checkpoint(0, 0, arrays(1), {"added": 0})
        large = {"a": np.zeros(200_000, np.float32)}
        with pytest.raises(CheckpointError, match=r"cannot write .*: No space left on device$"):
            folder.save_checkpoint(0, 1, large, {"added": 0})
        assert not list(small_disk.rglob("*.tmp"))
        path = folder.newest_checkpoint
        assert path is not None
        np.testing.assert_array_equal(read_arrays(path).arrays["a"], arrays(1)["a"])
        folder.save_checkpoint(0, 1, arrays(2), {"added": 0})


def test_a_folder_in_use_is_refused_by_the_process_that_has_it(tmp_path: Path) -> None:
    program = """
        import pathlib, sys, time
        from engine.training.run_folder import RunFolder

        with RunFolder(pathlib.Path(sys.argv[1])):
            print("there", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "there\n"
        (tmp_path / "checkpoints" / "000001-000000.safetensors.tmp").touch()  # its, being written
        with pytest.raises(CheckpointError, match=rf"in use by another .*\(pid {holder.pid}\)$"):
            RunFolder(tmp_path).__enter__()
        assert list(tmp_path.rglob("*.tmp"))
        holder.kill()
    theirs = [tmp_path / name for name in ("notes.tmp", "games/mine.tmp", "data/x.json.tmp")]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    ours = [
        tmp_path / f"{name}.tmp"
        for name in ("run.json", "metrics.jsonl", "bad-batch-000001-000002.safetensors")
    ]
    for path in ours:
        path.touch()
    with RunFolder(tmp_path):
        assert sorted(tmp_path.rglob("*.tmp")) == sorted(theirs), "what is not ours stays"
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    with RunFolder(tmp_path):
        pass


def test_what_no_rule_keeps_is_removed(tmp_path: Path) -> None:
    nothing: dict[str, np.ndarray] = {}
    with RunFolder(tmp_path) as folder:
        for n in range(25):
            folder.save_network(n, nothing)
            folder.save_checkpoint(n, 0, nothing, {"added": 10 * n})
            folder.save_checkpoint(n, 5, nothing, {"added": 10 * (n + 1)})
            folder.save_games(n, 7 * n, nothing, {"added_before": 10 * n, "rows": 10})
            folder.prune(capacity=35)
        assert [p.stem for p in sorted(folder.networks.iterdir())] == [
            *("000000", "000010", "000020"),
            *("000022", "000023", "000024"),
        ]
        assert [p.stem for p in sorted(folder.checkpoints.iterdir())] == [
            *("000023-000005", "000024-000000", "000024-000005"),
        ]
        # The oldest checkpoint's buffer holds examples 205 to 239.
        assert [int(p.stem[:6]) for p in sorted(folder.games.iterdir())] == [20, 21, 22, 23, 24]
        assert len(folder.chunks(22)) == 3
        assert len(list(folder.games.iterdir())) == 3


def test_a_line_of_the_metrics_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        assert folder.records() == []
        folder.write_records([{"iteration": 1}, {"iteration": 2}])
        with folder.metrics.open("a") as file:
            file.write('{"iteration": ')
        assert [r["iteration"] for r in folder.records()] == [1, 2]
        folder.metrics.write_text("nonsense\n")
        with pytest.raises(CheckpointError, match=r"metrics.jsonl is damaged"):
            folder.records()
