"""A training run's folder: names of its files, its lock, and which files may be removed.

    run.json                             the run's configuration
    networks/000003.safetensors          weights after 3 iterations
    checkpoints/000003-000120.safetensors   state after 3 iterations and 120 steps of the next one
    games/000003-000001500.safetensors   a chunk of self-play: iteration, number of its first game
    metrics.jsonl                        a line for each finished iteration
    lock                                 PID of the process that has the folder open

A run is resumed from its newest checkpoint; everything that a checkpoint needs is written first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.game.trusted_folder import check_run_folder
from engine.training.checkpoint import (
    TEMPORARY,
    Arrays,
    CheckpointError,
    read_about,
    write_arrays,
    write_whole,
)

KEPT_NEWEST = 3
"""Number of newest checkpoints and of newest networks that are kept."""
KEPT_EVERY = 10
"""Networks of every iteration that is a multiple of this are kept too."""
SUFFIX = ".safetensors"
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

        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
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
    def holds_run(self) -> bool:
        """Whether a run was configured here."""
        return (self.path / "run.json").exists()

    def configuration(self) -> str:
        """Text of run.json."""
        try:
            return (self.path / "run.json").read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"cannot read {self.path / 'run.json'}: {error}") from None

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

    def check(self) -> None:
        """Raises CheckpointError for the first file that is truncated, or no file of a run."""
        for folder in (self.checkpoints, self.networks, self.games):
            for path in _files(folder):
                read_about(path)

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
        for path in paths:
            if _iteration(path) > iteration:
                path.unlink()
        return [path for path in paths if _iteration(path) <= iteration]

    # -- metrics ------------------------------------------------------------------------------

    @property
    def metrics(self) -> Path:
        """Path of metrics.jsonl."""
        return self.path / "metrics.jsonl"

    def records(self) -> list[dict[str, Any]]:
        """The records in metrics.jsonl, without a last line that is incomplete."""
        try:
            lines = self.metrics.read_text().split("\n")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"cannot read {self.metrics}: {error}") from None
        records = []
        for line in lines[:-1]:  # text after the last line break is incomplete
            try:
                records.append(json.loads(line))
            except ValueError:
                raise CheckpointError(f"{self.metrics} is damaged: {line[:40]!r}") from None
        return records

    def write_records(self, records: list[dict[str, Any]]) -> None:
        """Replace metrics.jsonl."""
        text = "".join(f"{json.dumps(record)}\n" for record in records)
        write_whole(self.metrics, text.encode())


def _files(folder: Path) -> list[Path]:
    """Our files in a folder, in the order of their numbers."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def _iteration(path: Path) -> int:
    return int(path.stem.partition("-")[0])
