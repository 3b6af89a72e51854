"""What is spawned ends with its parent, and no signal comes between a process and its handle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from engine.selfplay.spawning import MAY_RAISE, without_interrupts

SECONDS = 30
PARENT = """
import time
from engine.selfplay.spawning import SPAWN, {context}, without_main_module

if __name__ == "__main__":
    process = SPAWN.Process(target=time.sleep, args=(30,))
    with without_main_module(), {context}():
        process.start()
    print(process.pid, flush=True)
    {wait}
    time.sleep(60)
"""


def child_of_a_killed_parent(context: str, wait: str = "") -> tuple[bool, str]:
    """Whether it is gone 3 s after its parent was killed, and what they printed on stderr."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(context=context, wait=wait)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    _, alive = psutil.wait_procs([child], timeout=3)
    for process in alive:
        process.kill()
    return not alive, parent.communicate(timeout=SECONDS)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_process_ends_with_its_parent_before_it_runs_anything_of_ours() -> None:
    """It would sleep on: its target has no look at the parent."""
    gone, errors = child_of_a_killed_parent("dying_with_parent")
    assert gone
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_without_that_it_would_live_on() -> None:
    assert not child_of_a_killed_parent("without_interrupts", wait="time.sleep(2)")[0]


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", MAY_RAISE, ids=lambda number: number.name)
def test_a_signal_that_another_thread_takes_waits_too(number: signal.Signals) -> None:
    class Came(Exception):
        pass

    def come(_: int, frame: object) -> None:
        raise Came

    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    before = signal.signal(number, come)
    inside = []

    def spawn() -> None:
        with without_interrupts():
            signal.pthread_kill(other.ident or 0, number)
            time.sleep(0.05)
            inside.append("to the end")

    try:
        with pytest.raises(Came):
            spawn()
        assert inside == ["to the end"]
        assert signal.getsignal(number) is come
    finally:
        signal.signal(number, before)
        ended.set()
        other.join()
