"""A training run's folder: its files by name, whose it is at the moment, and what may be removed.

    run.json                             what was asked for
    networks/000003.safetensors          weights alone, after 3 iterations
    checkpoints/000003-000120.safetensors   all that training goes on from: iteration, step in it
    games/000003-000001500.safetensors   a chunk of self-play: iteration, number of its first game
    metrics.jsonl                        a line for each finished iteration
    lock                                 the process that has the folder open

A checkpoint is what a run is resumed from; everything that it rests on is written before it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.training.checkpoint import (
    TEMPORARY,
    Arrays,
    CheckpointError,
    read_about,
    write_arrays,
    write_whole,
)

KEPT_NEWEST = 3
"""So many checkpoints, and networks, are kept besides every network of a multiple of KEPT_EVERY."""
KEPT_EVERY = 10
SUFFIX = ".safetensors"
NAME = re.compile(r"\d{6}(-\d+)?" + re.escape(SUFFIX))


class RunFolder:
    """The folder, locked for this process from `__enter__` to `__exit__`.

    Every method that touches the disk raises CheckpointError, in one line, when that fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.networks, self.checkpoints, self.games, self.reports = (
            path / name for name in ("networks", "checkpoints", "games", "reports")
        )
        self._lock: int | None = None

    # -- whose it is --------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Make the folder where there is none, and lock it.

        Raises CheckpointError when another process has it.
        """
        try:
            for folder in (self.networks, self.checkpoints, self.games):
                folder.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            for left in self._left_over():
                left.unlink()
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

    def _left_over(self) -> list[Path]:
        """Files of ours that a process died in the midst of: the folder may hold others' too."""
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
        import fcntl  # POSIX only: without a run folder all else goes on elsewhere too

        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # The system lets go of it when the process ends, however that comes about.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 20).decode(errors="replace").strip() or "not known"
            self._release()
            raise CheckpointError(
                f"{self.path} is in use by another process (pid {holder})"
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- what was asked for -------------------------------------------------------------------

    @property
    def holds_run(self) -> bool:
        return (self.path / "run.json").exists()

    def configuration(self) -> str:
        """The text of run.json."""
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
        """Save the state after `step` steps of an iteration (0: before its self-play)."""
        path = self.checkpoints / f"{iteration:06}-{step:06}{SUFFIX}"
        write_arrays(path, arrays, about)

    @property
    def newest_checkpoint(self) -> Path | None:
        """The file to go on from; None: there is none yet."""
        return max(_files(self.checkpoints), default=None)

    def check(self) -> None:
        """Raises CheckpointError for the first file that is cut off, or no file of a run."""
        for folder in (self.checkpoints, self.networks, self.games):
            for path in _files(folder):
                read_about(path)

    def network(self, iteration: int) -> Path:
        """The file of the weights after so many iterations."""
        return self.networks / f"{iteration:06}{SUFFIX}"

    def save_network(self, iteration: int, weights: Arrays) -> None:
        """Save weights alone: what a network is built from elsewhere."""
        write_arrays(self.network(iteration), weights, {"iteration": iteration})

    def prune(self, capacity: int) -> None:
        """Remove what no rule keeps.

        Of checkpoints the newest KEPT_NEWEST are kept, of networks also those of every
        KEPT_EVERY-th iteration, and of games what the replay buffer, of `capacity` examples, of
        the oldest of these checkpoints holds.
        """
        checkpoints, networks = _files(self.checkpoints), _files(self.networks)
        doomed = checkpoints[:-KEPT_NEWEST]
        doomed += [n for n in networks[:-KEPT_NEWEST] if int(n.stem) % KEPT_EVERY]
        kept = checkpoints[-KEPT_NEWEST:]
        if kept:
            first = read_about(kept[0])["added"] - capacity
            # Games are in order: the first whose examples are still held ends the search.
            for path in _files(self.games):
                about = read_about(path)
                if about["added_before"] + about["rows"] > first:
                    break
                doomed.append(path)
        try:
            for path in doomed:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot tidy {self.path}: {error.strerror}") from None

    # -- games --------------------------------------------------------------------------------

    def save_games(
        self, iteration: int, first: int, arrays: Arrays, about: Mapping[str, object]
    ) -> None:
        """Save a chunk of self-play; `about` holds at least `added_before` and `rows`."""
        write_arrays(self.games / f"{iteration:06}-{first:09}{SUFFIX}", arrays, about)

    def chunks(self, iteration: int) -> list[Path]:
        """The chunks up to and with this iteration, oldest first.

        Those of later ones are removed: they were played after a checkpoint that is gone.
        """
        paths = _files(self.games)
        for path in paths:
            if _iteration(path) > iteration:
                path.unlink()
        return [path for path in paths if _iteration(path) <= iteration]

    # -- metrics ------------------------------------------------------------------------------

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def records(self) -> list[dict[str, Any]]:
        """The finished iterations, as far as their lines are whole."""
        try:
            lines = self.metrics.read_text().split("\n")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"cannot read {self.metrics}: {error}") from None
        records = []
        for line in lines[:-1]:  # what follows the last line's end was cut off
            try:
                records.append(json.loads(line))
            except ValueError:
                raise CheckpointError(f"{self.metrics} is damaged: {line[:40]!r}") from None
        return records

    def keep_records(self, records: list[dict[str, Any]]) -> None:
        """Write all lines anew."""
        text = "".join(f"{json.dumps(record)}\n" for record in records)
        write_whole(self.metrics, text.encode())


def _files(folder: Path) -> list[Path]:
    """A folder's files of ours, in the order of their names: numbers of equal length."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def _iteration(path: Path) -> int:
    return int(path.stem.partition("-")[0])
