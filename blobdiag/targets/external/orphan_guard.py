"""Kills all processes of a session when the process at the other end of a pipe dies.

    python orphan_guard.py DESCRIPTOR SESSION

Started as a file, by blobdiag for another project's engine: a blobdiag that is killed cannot clean
up, and the engine's own workers would run on. A byte in the pipe means that the session has ended
in order. A process that has made a session of its own is not found.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TRIES, PAUSE_SECONDS = 50, 0.1
TRACKER_TRIES = 20
"""For multiprocessing's resource tracker, which ends by itself once all others are killed."""


def members(session: int) -> list[int]:
    """PIDs of a session's processes that have not ended."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getsid(int(name)) == session and not _ended(name):
                found.append(int(name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def _ended(pid: str) -> bool:
    """Whether it is a zombie."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")


def is_tracker(pid: int) -> bool:
    """Whether it is the resource tracker of Python's multiprocessing."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"multiprocessing.resource_tracker" in file.read()


def main(descriptor: int, session: int) -> None:
    """Wait for a byte or the pipe's end; at its end, kill until no process is left."""
    if os.read(descriptor, 1):
        return
    for count in range(TRIES):
        left = members(session)
        if not left:
            return
        for pid in left:
            try:
                # It removes the shared memory and the semaphores of those that were killed.
                spared = count < TRACKER_TRIES and is_tracker(pid)
                os.kill(pid, signal.SIGCONT if spared else signal.SIGKILL)
            except OSError:
                continue
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
