"""Start a process that shares nothing of its parent's: not its main module, not its Ctrl-C.

Processes are spawned, never forked: CUDA and threads do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from threading import Thread
from types import ModuleType

SPAWN = multiprocessing.get_context("spawn")


@contextmanager
def without_main_module() -> Iterator[None]:
    """Spawn processes that do not import the parent's main module.

    A spawned process imports it to find what it defines. Workers need none of that, and a script
    without a main guard would start an engine of its own in every worker.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Spawn processes with SIGINT blocked, until `ignore_interrupts` there.

    A SIGINT for the parent is delivered after the body.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started with the first process, it would unblock the signal (CPython, ensure_running).
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """In the spawned process: leave the decision about Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def exit_with_parent() -> None:
    """In the spawned process: exit, with code 1, as soon as the parent is gone."""
    Thread(target=_exit_when_parent_ends, name="parent-watch", daemon=True).start()


def _exit_when_parent_ends() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
