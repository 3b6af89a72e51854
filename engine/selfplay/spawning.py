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
from multiprocessing import resource_tracker, spawn
from multiprocessing.connection import wait
from threading import Thread, current_thread, main_thread
from types import ModuleType
from typing import Any

SPAWN = multiprocessing.get_context("spawn")

MAY_RAISE = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
    if hasattr(signal, name)
)

DIE_WITH_PARENT = (
    "import ctypes, os; ctypes.CDLL(None).prctl(1, 9); os.getppid() == {} or os._exit(1); "
)
"""PR_SET_PDEATHSIG with SIGKILL, see prctl(2); the parent may have ended before."""


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
def dying_with_parent() -> Iterator[None]:
    """Spawn processes that Linux kills with their parent, before they import anything of ours.

    An import takes seconds, in which no thread of the process can look. What the kernel calls the
    parent is the thread that spawns: only that of the main thread lasts as long as the process.
    """
    if sys.platform != "linux" or current_thread() is not main_thread():
        yield
        return
    original = spawn.get_command_line

    def command_line(**numbers: object) -> list[str]:
        command = original(**numbers)
        if "-c" in command:
            at = command.index("-c") + 1
            command[at] = DIE_WITH_PARENT.format(os.getpid()) + command[at]
        return command

    spawn.get_command_line = command_line
    try:
        yield
    finally:
        spawn.get_command_line = original


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Spawn processes with SIGINT and SIGHUP blocked, until `ignore_interrupts` there.

    Such a signal for the parent, and any other that may raise here, is handled after the body: the
    mask is this thread's, and a signal that another thread takes would run its handler here.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    came: list[int] = []
    handlers: dict[int, Any] = {}
    if current_thread() is main_thread():
        handlers = {n: signal.getsignal(n) for n in MAY_RAISE if callable(signal.getsignal(n))}
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        # Started with the first process, it would unblock SIGINT (CPython, ensure_running).
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came:
            handlers[number](number, None)


def ignore_interrupts() -> None:
    """In the spawned process: leave the decision about Ctrl-C, or a closed terminal, to the parent.

    A signal that is blocked is ignored, and so never delivered.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def exit_with_parent() -> None:
    """In the spawned process: exit, with code 1, as soon as the parent is gone."""
    Thread(target=_exit_when_parent_ends, name="parent-watch", daemon=True).start()


def _exit_when_parent_ends() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
