"""blobdiag with an engine that is slower by a known share, as worse code would make it.

    python tests/programs/slowed.py PERCENT compare --games 5

Each search thread stands still after each batch, for so much of the time since the last one ended
that its batches become fewer by PERCENT, whatever the time went to. A worker is spawned and imports
its main function by name: it is given this file's, and the engine is slowed in it too.
"""

from __future__ import annotations

import os
import sys
import threading
from time import perf_counter
from typing import Any

import engine.selfplay.worker_process
from blobdiag.cli import main
from engine.network.evaluator import Evaluator

if __name__ == "__main__":
    # Workers inherit the environment, not the arguments.
    os.environ["SLOWED_PERCENT"] = sys.argv.pop(1)
SHARE = float(os.environ["SLOWED_PERCENT"]) / 100
PAUSE_AT_MOST = 1.0
"""Seconds; a thread that had no games has nothing to be slower at."""

_submit = Evaluator.submit
_worker_main = engine.selfplay.worker_process.worker_main
_last = threading.local()


def submit(self: Evaluator, rows: int) -> int:
    """As Evaluator.submit, SHARE ÷ (1 - SHARE) of the time since the last one later."""
    computed = _submit(self, rows)
    began = perf_counter()
    pause = min(PAUSE_AT_MOST, (began - getattr(_last, "ended", began)) * SHARE / (1 - SHARE))
    # A sleep is too coarse for batches of a millisecond.
    while perf_counter() - began < pause:
        pass
    _last.ended = perf_counter()
    return computed


def worker_main(*arguments: Any) -> None:
    """A worker's process, with the slower engine."""
    Evaluator.submit = submit  # type: ignore[method-assign]
    _worker_main(*arguments)


if __name__ == "__main__":
    import slowed  # this file, under the name that workers find it by

    engine.selfplay.worker_process.worker_main = slowed.worker_main
    main()
