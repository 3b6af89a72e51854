"""A training run's folder: names of its files, its lock, and which files may be removed.

    run.json                             the run's configuration
    networks/000003.safetensors          weights after 3 iterations
    checkpoints/000003-000120.safetensors   state after 3 iterations and 120 steps of the next one
    games/000003-000001500.safetensors   a chunk of self-play: iteration, number of its first game
    metrics.jsonl                        a line for each finished iteration, with its SHA-256
    lock                                 PID of the process that has the folder open

A run is resumed from its newest checkpoint; everything that a checkpoint needs is written first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.game.trusted_folder import check_run_folder
from engine.training.checkpoint import (
    CHECKSUM,
    TEMPORARY,
    Arrays,
    CheckpointError,
    check_regular,
    has_checksum,
    read_about,
    read_text,
    write_arrays,
    write_whole,
)

KEPT_NEWEST = 3
"""Number of newest checkpoints and of newest networks that are kept."""
KEPT_EVERY = 10
"""Networks of every iteration that is a multiple of this are kept too."""
SUFFIX = ".safetensors"
OWN_NAMES = {"reports", "lock", "lost+found"}
NAME = re.compile(r"\d{6}(-\d+)?" + re.escape(SUFFIX))


class RunFolder:
    """The folder, locked for this process between `__enter__` and `__exit__`.

    Every method that accesses the disk raises CheckpointError, in one line, when that fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.networks, self.checkpoints, self.games, self.reports = (
            path / name for name in ("networks", "checkpoints", "games", "reports")
        )
        self._lock: int | None = None

    # -- lock ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Create the folder if needed, lock it, and remove unfinished files.

        Raises CheckpointError when another process has it open.
        """
        try:
            for folder in (self.networks, self.checkpoints, self.games):
                folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.path.resolve(), self.networks, self.checkpoints, self.games):
                check_run_folder(folder)
            self._take_lock()
            for unfinished in self._unfinished_files():
                unfinished.unlink()
        except OSError as error:
            self._release()
            raise CheckpointError(f"cannot use {self.path}: {error.strerror}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _unfinished_files(self) -> list[Path]:
        """Files of ours whose writer died; files of other programs are left alone."""
        inside = [
            path
            for folder in (self.networks, self.checkpoints, self.games)
            for path in folder.glob(f"*{TEMPORARY}")
            if NAME.fullmatch(path.name.removesuffix(TEMPORARY))
        ]
        own = (self.path / f"{name}{TEMPORARY}" for name in ("run.json", "metrics.jsonl"))
        batches = self.path.glob(f"bad-batch-*{SUFFIX}{TEMPORARY}")
        return [*inside, *(path for path in own if path.exists()), *batches]

    def _take_lock(self) -> None:
        import fcntl  # POSIX only: imported here, so that the engine runs elsewhere

        # No link is followed, and no pipe waited for: the file is overwritten.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self._lock = os.open(self.path / "lock", flags, 0o644)
        if not stat.S_ISREG(os.fstat(self._lock).st_mode):
            self._release()
            raise CheckpointError(f"{self.path / 'lock'} is no regular file")
        try:
            # The system releases the lock when the process ends, for whatever reason.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._lock, 20).decode(errors="replace").strip() or "not known"
            self._release()
            raise CheckpointError(f"{self.path} is in use by another process (pid {pid})") from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- configuration ------------------------------------------------------------------------

    @property
    def foreign(self) -> Path | None:
        """A file that no training wrote, or a folder with one, in a folder without a run; or None.

        Hidden and empty files do not count: a file system has the first, a log that has just been
        opened is the second.
        """
        try:
            inside = sorted(self.path.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CheckpointError(f"cannot use {self.path}: {error.strerror}") from None
        for path in inside:
            if path.name.startswith(".") or path.name in OWN_NAMES:
                continue
            if path in (self.networks, self.checkpoints, self.games):
                if path.is_dir() and all(map(_is_own, path.iterdir())):
                    continue
            elif path.name.endswith(TEMPORARY) or (path.is_file() and not path.stat().st_size):
                continue
            return path
        return None

    @property
    def holds_run(self) -> bool:
        """Whether a run was configured here."""
        return (self.path / "run.json").exists()

    def configuration(self) -> str:
        """Text of run.json."""
        try:
            return read_text(self.path / "run.json")
        except FileNotFoundError:
            raise CheckpointError(f"{self.path / 'run.json'} is not there") from None

    def configure(self, text: str) -> None:
        """Write run.json."""
        write_whole(self.path / "run.json", text.encode())

    # -- checkpoints and networks -------------------------------------------------------------

    def save_checkpoint(
        self, iteration: int, step: int, arrays: Arrays, about: Mapping[str, object]
    ) -> None:
        """Save the state after `iteration` iterations and `step` steps of the next one."""
        path = self.checkpoints / f"{iteration:06}-{step:06}{SUFFIX}"
        write_arrays(path, arrays, about)

    @property
    def newest_checkpoint(self) -> Path | None:
        """The checkpoint to resume from; None: there is none yet."""
        return max(_files(self.checkpoints), default=None)

    def check(self) -> list[Path]:
        """Read every file, and return those that have no checksum.

        Raises CheckpointError for the first that is not as it was written, or no file of a run.
        """
        without = []
        # The newest first: it is the one that a run is resumed from.
        for folder in (self.checkpoints, self.networks, self.games):
            for path in reversed(_files(folder)):
                about = read_about(path)
                if not has_checksum(path):
                    without.append(path)
                if about.get("iteration", _iteration(path)) != _iteration(path):
                    raise CheckpointError(f"{path} is of iteration {about['iteration']!r:.20}")
        return without

    def chunk_files(self) -> list[Path]:
        """All chunks of self-play, oldest first."""
        return _files(self.games)

    def network(self, iteration: int) -> Path:
        """Path of the weights after `iteration` iterations."""
        return self.networks / f"{iteration:06}{SUFFIX}"

    def save_network(self, iteration: int, weights: Arrays) -> None:
        """Save weights alone, for others to load."""
        write_arrays(self.network(iteration), weights, {"iteration": iteration})

    def prune(self, capacity: int) -> None:
        """Remove the files that are no longer needed.

        Kept are the newest KEPT_NEWEST checkpoints and networks, the networks of every
        KEPT_EVERY-th iteration, and the games in the replay buffer, of `capacity` examples, of the
        oldest checkpoint kept.
        """
        checkpoints, networks = _files(self.checkpoints), _files(self.networks)
        unneeded = checkpoints[:-KEPT_NEWEST]
        unneeded += [n for n in networks[:-KEPT_NEWEST] if int(n.stem) % KEPT_EVERY]
        kept = checkpoints[-KEPT_NEWEST:]
        if kept:
            first = read_about(kept[0])["added"] - capacity
            # Games are in order: all chunks from the first needed one on are needed.
            for path in _files(self.games):
                about = read_about(path)
                if about["added_before"] + about["rows"] > first:
                    break
                unneeded.append(path)
        try:
            for path in unneeded:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot remove files in {self.path}: {error.strerror}") from None

    # -- games --------------------------------------------------------------------------------

    def save_games(
        self, iteration: int, first: int, arrays: Arrays, about: Mapping[str, object]
    ) -> None:
        """Save a chunk of self-play; `about` holds at least `added_before` and `rows`."""
        write_arrays(self.games / f"{iteration:06}-{first:09}{SUFFIX}", arrays, about)

    def chunks(self, iteration: int) -> list[Path]:
        """Paths of the chunks of iterations 0 to `iteration`, oldest first.

        Chunks of later iterations are removed: they follow a checkpoint that no longer exists.
        """
        paths = _files(self.games)
        try:
            for path in paths:
                if _iteration(path) > iteration:
                    path.unlink()
        except OSError as error:
            raise CheckpointError(f"cannot remove files in {self.path}: {error.strerror}") from None
        return [path for path in paths if _iteration(path) <= iteration]

    # -- metrics ------------------------------------------------------------------------------

    @property
    def metrics(self) -> Path:
        """Path of metrics.jsonl."""
        return self.path / "metrics.jsonl"

    def records(self) -> list[dict[str, Any]]:
        """The records in metrics.jsonl, without a last line that is incomplete."""
        try:
            lines = read_text(self.metrics).split("\n")
        except FileNotFoundError:
            return []
        records = []
        for number, line in enumerate(lines[:-1], 1):  # text after the last break is incomplete
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise CheckpointError(f"{self.metrics} is damaged: {line[:40]!r}")
            if record.pop(CHECKSUM, None) not in (None, _checksum(record)):
                raise CheckpointError(
                    f"{self.metrics}: line {number} is damaged: its SHA-256 is not the one it was "
                    "written with"
                )
            records.append(record)
        return records

    def write_records(self, records: list[dict[str, Any]]) -> None:
        """Replace metrics.jsonl."""
        sealed = ({**record, CHECKSUM: _checksum(record)} for record in records)
        text = "".join(f"{json.dumps(record)}\n" for record in sealed)
        write_whole(self.metrics, text.encode())


def _files(folder: Path) -> list[Path]:
    """Our files in a folder, in the order of their numbers.

    Raises CheckpointError for one with the name of such a file that is no regular file.
    """
    files = sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))
    for path in files:
        check_regular(path)
    return files


def _is_own(path: Path) -> bool:
    return NAME.fullmatch(path.name.removesuffix(TEMPORARY)) is not None


def _checksum(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()


def _iteration(path: Path) -> int:
    return int(path.stem.partition("-")[0])
